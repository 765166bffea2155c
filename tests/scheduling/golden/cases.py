"""Which zones, years and expressions the tables are about."""

from datetime import UTC, datetime

# Apia's day that never was, São Paulo's and Santiago's midnights, Lord Howe's half hours, Casablanca's
# Ramadans, Dublin's negative summer time, changes at one past midnight (Gaza, St John's), of two hours
# (Troll), of three (Casey), of half an hour once (Caracas, Pyongyang, Norfolk), Kathmandu's quarter, or none.
ZONES = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Caracas",
    "America/Havana",
    "America/New_York",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Casey",
    "Antarctica/Troll",
    "Asia/Gaza",
    "Asia/Kathmandu",
    "Asia/Pyongyang",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Europe/Moscow",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Norfolk",
    "UTC",
]

SPANS = [
    (datetime(2007, 1, 1, tzinfo=UTC), datetime(2017, 1, 1, tzinfo=UTC)),
    (datetime(2026, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)),
]

# Compared at each of their instants in all of the years.
EXPRESSIONS = [
    "30 2 * * *",
    "15,45 2 * * *",
    "0 2 * * *",
    "59 1 * * *",
    "0 3 * * *",
    "0 0 * * *",
    "1 0 * * *",
    "30 0 * * *",
    "59 23 * * *",
    "0 1 * * *",
    "30 1 * * *",
    "0,20,40 1-3 * * *",
    "5 4,16 * * *",
    "0-59/20 2 * * *",
    "7 3/6 * * *",
    "30 22-2 * * *",
    "10 23-4/2 * * *",
    "50-10/10 2 * * *",
    "0 0 1 * *",
    "30 2 1 * *",
    "30 2 31 * *",
    "0 12 29 2 *",
    "15 2 29 2 *",
    "0 0 L * *",
    "30 2 L * *",
    "45 1 LW * *",
    "30 0 1W * *",
    "30 2 15W * *",
    "0 2 31W * *",
    "0 2 30W,LW * *",
    "15 0 1,15W,L * *",
    "30 2 * * 0",
    "30 2 * * 7",
    "30 2 * * SUN",
    "0 0 * * FRI-MON",
    "30 2 * * sat,sun",
    "45 2 * * MON-FRI",
    "30 2 * * 5-7",
    "30 2 * * 0#2",
    "30 2 * * SUN#4",
    "0 0 * * SAT#5",
    "30 2 * * 0L",
    "0 1 * * SUNL",
    "0 2 * * FRIL",
    "30 2 13 * 5",
    "30 2 */2 * SUN",
    "0 2 1-7 * */2",
    "30 2 25-31 3,10 SUN",
    "0 3 * MAR,OCT 0",
    "30 0 * OCT-APR *",
    "15 2 ? * SUN",
    "0 0 15,31 1-12/2 ?",
    "*/30 2 * * *",
    "*/20 0-3 * * 0",
    "10 */2 * * SAT",
    "0 */6 * * *",
    "30 * * * 0",
    "*/15 1,2 L * *",
]

# Too many instants for all of the years: the days around each change.
FREQUENT = ["* * * * *", "*/5 * * * *", "*/7 * * * *", "0 * * * *", "0-59/15 0-23 * * *", "1-59/2 0-4 * * *"]

# Six fields, seconds first: the hours around each change.
WITH_SECONDS = [
    "0 30 2 * * *",
    "59 59 1 * * *",
    "0 0 0 * * *",
    "15 15,45 0-3 * * SUN",
    "*/20 */10 * * * *",
    "30-10/10 5 2 * * *",
    "7 */15 1-3 * * *",
    "1 0 3 L,1-7 * ?",
]

POLICIES = [(gap, overlap) for gap in ("skip", "next_valid") for overlap in ("first", "second", "both")]

# Days to be read by people, with the expressions that matter on them: one file for each zone.
DAYS = {
    "Europe/Berlin": (["2026-03-29", "2026-10-25"], ["30 2 * * *", "15,45 2 * * *", "*/30 1-3 * * *"]),
    "Europe/Dublin": (["2016-03-27", "2016-10-30"], ["30 1 * * *", "0 2 * * SUN", "*/30 0-2 * * *"]),
    "Australia/Lord_Howe": (["2016-04-03", "2016-10-02"], ["45 1 * * *", "15 2 * * *", "*/15 1-2 * * *"]),
    "America/Sao_Paulo": (["2015-10-18", "2016-02-21"], ["0 0 * * *", "30 23 * * *", "*/30 23,0,1 * * *"]),
    "Pacific/Apia": (["2011-12-30"], ["30 2 * * *", "0 0 30 12 *", "0 */6 * * *"]),
    "Africa/Casablanca": (["2016-06-05", "2016-07-10"], ["30 2 * * *", "0 30 2 * * *", "*/30 1-3 * * *"]),
    "Antarctica/Troll": (["2016-03-27", "2016-10-30"], ["30 1,2 * * *", "0 */2 * * *"]),
}
