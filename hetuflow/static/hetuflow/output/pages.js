// Pages of output, from any place on.

import { partOf } from "./rows.js";

const asText = (value) => (typeof value === "object" ? `${value.stdout}.${value.stderr}` : value);

// Returns a page as `query` asks for it; what is empty in it is not asked for.
export const fetchPage = async (address, query) => {
  const url = new URL(address, window.location.href);
  for (const [name, value] of Object.entries(query)) {
    if (value !== "") {
      url.searchParams.set(name, asText(value));
    }
  }
  const response = await fetch(url, { headers: { Accept: "application/json" }, redirect: "error" });
  if (!response.ok) {
    throw new Error(`status ${response.status}`);
  }
  const page = await response.json();
  return { ...page, parts: page.parts.map(partOf) };
};
