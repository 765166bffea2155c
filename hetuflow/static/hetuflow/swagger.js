// Starts Swagger UI; "Try it out" acts as the user who is logged in, unless a token was given to it.
"use strict";

(() => {
  const { schemaUrl, settings, csrfHeader, csrfToken } = document.getElementById("swagger-ui").dataset;
  const ownOrigin = window.location.origin;

  window.SwaggerUIBundle({
    ...JSON.parse(settings),
    url: schemaUrl,
    dom_id: "#swagger-ui",
    presets: [window.SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    requestInterceptor(request) {
      const isOurs = new URL(request.url, document.baseURI).origin === ownOrigin;
      if (isOurs && !["GET", undefined].includes(request.method)) {
        request.headers[csrfHeader] = csrfToken;
      }
      return request;
    },
  });
})();
