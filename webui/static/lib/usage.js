// Usage: what is asked for, as the address keeps it, and the names and numbers of the answer.

import { send } from "./api.js";
import { NONE, given, number } from "./format.js";

const DAY_MS = 86_400_000;
export const RANGES = { today: "Today", "7d": "7 days", "30d": "30 days", month: "This month", "last-month": "Last month", dates: "Dates" };
export const METRICS = { hours: "GPU-hours", idle: "Held idle", energy: "Energy" };
const GROUPS_SHOWN = 8;
export const NOBODY = "nobody";
const USUAL = { range: "30d", by: "user", metric: "hours", user: "", worker: "", label: "", from: "", to: "" };

/** Return what the address asks for; what it does not say is as usual. */
export function fromAddress() {
  const asked = new URLSearchParams(location.search);
  const view = Object.fromEntries(Object.entries(USUAL).map(([key, usual]) => [key, asked.get(key) ?? usual]));
  if (!(view.range in RANGES)) view.range = USUAL.range;
  if (!(view.metric in METRICS)) view.metric = USUAL.metric;
  return view;
}

/** Return the address that shows this. */
export function addressOf(view) {
  const query = new URLSearchParams();
  for (const [key, usual] of Object.entries(USUAL)) if (view[key] !== usual && view[key] !== "") query.set(key, view[key]);
  const text = query.toString();
  return text ? `/usage?${text}` : "/usage";
}

function midnight(date, daysLater = 0) {
  return new Date(date.getFullYear(), date.getMonth(), date.getDate() + daysLater);
}

/** Return a date of this browser's time zone as a date field writes it. */
export function dateText(date) {
  const two = (value) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

function dateOf(text) {
  const date = new Date(`${text}T00:00:00`);
  return Number.isNaN(date.getTime()) ? null : date;
}

/** Return `{from, to}` as dates, both by this browser's calendar; `to` is null for now, `problem` says what is wrong. */
export function spanOf(view) {
  const today = midnight(new Date());
  if (view.range === "today") return { from: today, to: null };
  if (view.range === "7d") return { from: midnight(today, -6), to: null };
  if (view.range === "30d") return { from: midnight(today, -29), to: null };
  const month = new Date(today.getFullYear(), today.getMonth(), 1);
  if (view.range === "month") return { from: month, to: null };
  if (view.range === "last-month") return { from: new Date(today.getFullYear(), today.getMonth() - 1, 1), to: month };
  const from = dateOf(view.from) ?? midnight(today, -6);
  const last = dateOf(view.to) ?? today;
  if (from > last) return { problem: "The first day is after the last." };
  return { from, to: midnight(last, 1) };
}

/** Return the query that asks the server for this. */
export function queryOf(view, span) {
  const query = new URLSearchParams({ by: view.by, from: span.from.getTime() / 1000 });
  if (span.to !== null) query.set("to", span.to.getTime() / 1000);
  for (const key of ["user", "worker", "label"]) if (view[key]) query.set(key, view[key]);
  return query;
}

/** Ask for totals and for the largest groups over time; returns `{totals, series}` or `{error}`. */
export async function fetchUsage(view, span) {
  const query = queryOf(view, span);
  const totals = await send("GET", `usage?${query}`);
  if (totals.error) return totals;
  query.set("groups", GROUPS_SHOWN);
  query.set("order", view.metric === "hours" ? "held" : view.metric);
  query.set("tz", Intl.DateTimeFormat().resolvedOptions().timeZone ?? "UTC");
  const isShort = (span.to ?? new Date()) - span.from <= 2.1 * DAY_MS;
  query.set("step", isShort ? "hour" : "day");
  const series = await send("GET", `usage/series?${query}`);
  return series.error ? series : { totals, series };
}

/** Return what a group is called. */
export function nameOf(by, name) {
  if (name !== null) return name;
  return by.startsWith("label:") ? `no label ${by.slice(6)}` : "not known";
}

/** Return what a plot shows of a group: what users have, or of cards that nobody holds. */
export function valuesOf(metric, group) {
  const isFree = group.name === NOBODY;
  if (metric === "idle") return group.idle_hours;
  if (metric === "energy") return isFree ? group.free_energy_kwh : group.energy_kwh;
  return isFree ? group.free_hours : group.held_hours;
}

const withUnit = (unit, digits) => (value) =>
  given(value) ? `${number(value, value !== 0 && value < 1 ? digits + 1 : digits)}\u00a0${unit}` : NONE;
export const hours = withUnit("h", 1);
export const gibHours = withUnit("GiB·h", 0);
export const kilowattHours = withUnit("kWh", 1);

/** Return what writes money: to the cent, in the currency that is set. */
export function moneyIn(currency) {
  return (value) => (given(value) ? `${number(value, 2)}${currency ? `\u00a0${currency}` : ""}` : NONE);
}

export function formatOf(metric) {
  return metric === "energy" ? kilowattHours : hours;
}
