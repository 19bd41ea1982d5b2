const express = require("express");

const app = express();

app.get("/", (request, response) => {
  response.type("text").send(`Hello from ${process.env.PAAS_PROCESS} on Node ${process.version}\n`);
});

const server = app.listen(process.env.PORT, "0.0.0.0", () => {
  console.log(`listening on ${process.env.PORT}`);
});

process.on("SIGTERM", () => server.close());
