// Tells the server the time zone of this machine, in which pages tell the time unless their reader chose another one.
"use strict";

(() => {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  if (timeZone) {
    const secure = window.location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `hetuflow_zone=${timeZone}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
  }
})();
