"""Continents of countries, by the two-letter codes of ISO 3166-1 and the regions of UN M49."""

import pyarrow as pa

_COUNTRIES = {
    "Africa": "DZ AO BJ BW IO BF BI CV CM CF TD KM CG CD CI DJ EG GQ ER SZ ET TF GA GM GH GN GW KE LS LR LY MG MW "
    "ML MR MU YT MA MZ NA NE NG RE RW SH ST SN SC SL SO ZA SS SD TZ TG TN UG EH ZM ZW",
    "Asia": "AF AM AZ BH BD BT BN KH CN CY GE HK IN ID IR IQ IL JP JO KZ KW KG LA LB MO MY MV MN MM NP KP OM PK "
    "PS PH QA SA SG KR LK SY TW TJ TH TL TR TM AE UZ VN YE",
    "Europe": "AX AL AD AT BY BE BA BG HR CZ DK EE FO FI FR DE GI GR GG VA HU IS IE IM IT JE LV LI LT LU MT MD MC "
    "ME NL MK NO PL PT RO RU SM RS SK SI ES SJ SE CH UA GB",
    "North America": "AI AG AW BS BB BZ BM BQ VG CA KY CR CU CW DM DO SV GL GD GP GT HT HN JM MQ MX MS NI PA PR BL KN "
    "LC MF PM VC SX TT TC US VI",
    "Oceania": "AS AU CX CC CK FJ PF GU HM KI MH FM NR NC NZ NU NF MP PW PG PN WS SB TK TO TV UM VU WF",
    "South America": "AR BO BV BR CL CO EC FK GF GY PY PE GS SR UY VE",
    "Antarctica": "AQ",
}
_CONTINENT = {code: continent for continent, codes in _COUNTRIES.items() for code in codes.split()}


def continents_of(countries: pa.ChunkedArray) -> pa.Array:
    """Return the continent of each country, given as a two-letter ISO 3166-1 code in any case; null if unknown."""
    return pa.array([_CONTINENT.get((code or "").upper()) for code in countries.to_pylist()], pa.string())
