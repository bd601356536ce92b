"""The six schemas that ship with the kit: small, and each about something else."""

from adapters.environments.sql.schemas import Column, Schema, Table

_WORDS = (
    "amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron",
    "iris", "jade", "kestrel", "lotus", "maple", "nova", "onyx", "pearl",
)  # fmt: skip


def _key(name: str) -> Column:
    return Column(name, "key")


def _reference(name: str, parent: str) -> Column:
    return Column(name, "reference", parent=parent)


def _label(name: str, phrase: str) -> Column:
    return Column(name, "label", phrase, _WORDS)


def _dimension(name: str, phrase: str, *values: str) -> Column:
    return Column(name, "dimension", phrase, values)


def _count(name: str, phrase: str, low: int, high: int) -> Column:
    return Column(name, "measure", phrase, low=low, high=high)


def _money(name: str, phrase: str, low: int, high: int) -> Column:
    return Column(name, "measure", phrase, low=low * 100, high=high * 100, hundredths=True)


def _note(name: str) -> Column:
    return Column(name, "note")


def _table(name: str, singular: str, plural: str, rows: int, *columns: Column) -> Table:
    return Table(name, singular, plural, rows, columns)


SHOP = Schema(
    "shop",
    "the orders and returns of a mail-order shop",
    (
        _table(
            "customers", "customer", "customers", 24,
            _key("customer_id"),
            _label("customer_name", "name"),
            _dimension("region", "region", "north", "south", "east", "west"),
            _dimension("segment", "segment", "private", "trade", "public"),
            _money("credit_limit", "credit limit", 200, 5000),
            _count("loyalty_points", "loyalty balance", 0, 900),
        ),
        _table(
            "orders", "order", "orders", 48,
            _key("order_id"),
            _reference("customer_id", "customers"),
            _label("order_code", "code"),
            _dimension("status", "status", "open", "paid", "shipped", "cancelled"),
            _dimension("channel", "channel", "web", "phone", "store"),
            _money("amount", "amount", 10, 900),
            _count("weight_grams", "weight", 100, 9000),
        ),
        _table(
            "returns", "return", "returns", 36,
            _key("return_id"),
            _reference("customer_id", "customers"),
            _label("return_code", "code"),
            _dimension("reason", "reason", "damaged", "wrong size", "late"),
            _dimension("condition", "condition", "sealed", "opened", "worn"),
            _money("refund", "refund", 5, 400),
            _count("days_kept", "keeping time", 1, 200),
            _note("remark"),
        ),
    ),
)  # fmt: skip

CLINIC = Schema(
    "clinic",
    "the visits and prescriptions of an outpatient clinic",
    (
        _table(
            "doctors", "doctor", "doctors", 20,
            _key("doctor_id"),
            _label("doctor_name", "name"),
            _dimension("specialty", "specialty", "cardiology", "dermatology", "neurology", "paediatrics"),
            _dimension("site", "site", "harbour", "hill", "station"),
            _count("service_months", "length of service", 3, 420),
            _count("weekly_minutes", "weekly time", 300, 2600),
        ),
        _table(
            "visits", "visit", "visits", 48,
            _key("visit_id"),
            _reference("doctor_id", "doctors"),
            _label("visit_code", "code"),
            _dimension("outcome", "outcome", "discharged", "referred", "follow-up"),
            _dimension("urgency", "urgency", "routine", "soon", "urgent"),
            _count("waiting_minutes", "waiting time", 1, 240),
            _money("fee", "fee", 30, 600),
        ),
        _table(
            "prescriptions", "prescription", "prescriptions", 40,
            _key("prescription_id"),
            _reference("doctor_id", "doctors"),
            _label("prescription_code", "code"),
            _dimension("form", "form", "tablet", "syrup", "ointment"),
            _dimension("payer", "payer", "insurer", "patient", "employer"),
            _money("cost", "cost", 4, 300),
            _count("dose_milligrams", "dose", 5, 900),
            _note("remark"),
        ),
    ),
)  # fmt: skip

LIBRARY = Schema(
    "library",
    "the loans and events of a city's public libraries",
    (
        _table(
            "branches", "branch", "branches", 18,
            _key("branch_id"),
            _label("branch_name", "name"),
            _dimension("district", "district", "old town", "riverside", "docks", "heights"),
            _dimension("size", "size", "small", "medium", "large"),
            _count("seats", "seating", 10, 300),
            _money("budget", "budget", 900, 9000),
        ),
        _table(
            "loans", "loan", "loans", 48,
            _key("loan_id"),
            _reference("branch_id", "branches"),
            _label("loan_code", "code"),
            _dimension("genre", "genre", "crime", "poetry", "science", "travel"),
            _dimension("medium", "medium", "paper", "audio", "screen"),
            _count("days_out", "duration", 1, 160),
            _money("fine", "fine", 1, 40),
        ),
        _table(
            "events", "event", "events", 32,
            _key("event_id"),
            _reference("branch_id", "branches"),
            _label("event_title", "title"),
            _dimension("audience", "audience", "children", "adults", "seniors"),
            _dimension("weekday", "weekday", "monday", "thursday", "saturday"),
            _count("visitors", "attendance", 5, 260),
            _money("expense", "expense", 20, 800),
            _note("remark"),
        ),
    ),
)  # fmt: skip

FLEET = Schema(
    "fleet",
    "the trips and repairs of a haulage company",
    (
        _table(
            "trucks", "truck", "trucks", 22,
            _key("truck_id"),
            _label("truck_name", "name"),
            _dimension("depot", "depot", "alder yard", "brook yard", "cross yard"),
            _dimension("fuel", "fuel", "diesel", "electric", "gas"),
            _count("payload_kilograms", "payload", 900, 24000),
            _money("lease", "lease", 400, 2900),
        ),
        _table(
            "trips", "trip", "trips", 48,
            _key("trip_id"),
            _reference("truck_id", "trucks"),
            _label("trip_code", "code"),
            _dimension("cargo", "cargo", "steel", "fruit", "paper", "glass"),
            _dimension("weather", "weather", "dry", "rain", "snow"),
            _count("distance_km", "distance", 12, 1400),
            _money("toll", "toll", 1, 190),
        ),
        _table(
            "repairs", "repair", "repairs", 34,
            _key("repair_id"),
            _reference("truck_id", "trucks"),
            _label("repair_code", "code"),
            _dimension("part", "part", "brakes", "tyres", "engine", "lights"),
            _dimension("workshop", "workshop", "own", "partner", "maker"),
            _money("price", "price", 40, 4000),
            _count("downtime_hours", "downtime", 1, 240),
            _note("remark"),
        ),
    ),
)  # fmt: skip

COLLEGE = Schema(
    "college",
    "the courses, theses and exams of a college",
    (
        _table(
            "courses", "course", "courses", 20,
            _key("course_id"),
            _label("course_title", "title"),
            _dimension("faculty", "faculty", "arts", "law", "physics", "biology"),
            _dimension("level", "level", "introductory", "intermediate", "advanced"),
            _count("capacity", "capacity", 8, 300),
            _money("tuition", "tuition", 90, 1900),
        ),
        _table(
            "exams", "exam", "exams", 48,
            _key("exam_id"),
            _reference("course_id", "courses"),
            _label("exam_code", "code"),
            _dimension("result", "result", "passed", "failed", "absent"),
            _dimension("term", "term", "autumn", "spring", "summer"),
            _count("points", "mark", 1, 200),
            _count("minutes_used", "working time", 15, 240),
        ),
        _table(
            "theses", "thesis", "theses", 30,
            _key("thesis_id"),
            _reference("course_id", "courses"),
            _label("thesis_title", "title"),
            _dimension("language", "language", "english", "french", "polish"),
            _dimension("stage", "stage", "proposed", "drafted", "defended"),
            _count("pages", "page count", 20, 260),
            _money("grant_sum", "grant", 50, 3000),
            _note("remark"),
        ),
    ),
)  # fmt: skip

HOTEL = Schema(
    "hotel",
    "the bookings and complaints of a hotel",
    (
        _table(
            "rooms", "room", "rooms", 20,
            _key("room_id"),
            _label("room_name", "name"),
            _dimension("wing", "wing", "garden", "lake", "street"),
            _dimension("comfort", "comfort", "plain", "superior", "suite"),
            _money("rate", "rate", 60, 600),
            _count("floor_area", "floor area", 12, 140),
        ),
        _table(
            "bookings", "booking", "bookings", 48,
            _key("booking_id"),
            _reference("room_id", "rooms"),
            _label("booking_code", "code"),
            _dimension("board", "board", "breakfast", "half board", "full board"),
            _dimension("source", "source", "agency", "direct", "portal", "fair"),
            _money("bill", "bill", 80, 4000),
            _count("lead_days", "lead time", 0, 330),
        ),
        _table(
            "complaints", "complaint", "complaints", 30,
            _key("complaint_id"),
            _reference("room_id", "rooms"),
            _label("complaint_code", "code"),
            _dimension("subject", "subject", "noise", "heating", "cleaning"),
            _dimension("severity", "severity", "minor", "serious", "critical"),
            _money("compensation", "compensation", 1, 300),
            _count("response_minutes", "response time", 2, 900),
            _note("remark"),
        ),
    ),
)  # fmt: skip

SCHEMAS = {schema.name: schema for schema in (SHOP, CLINIC, LIBRARY, FLEET, COLLEGE, HOTEL)}
