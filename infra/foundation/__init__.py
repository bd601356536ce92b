"""What outlives every deployment of code: key, buckets, topic, rollout ledger."""

from infra.foundation.foundation import Foundation as Foundation
