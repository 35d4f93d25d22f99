// Draws openapi.json, and sends requests to /predict.
"use strict";

const find = (id) => document.getElementById(id);

function add(parent, name, text, className = "") {
  const created = document.createElement(name);
  created.textContent = text;
  created.className = className;
  parent.append(created);
  return created;
}

function resolve(value, api) {
  if (Array.isArray(value)) {
    return value.map((item) => resolve(item, api));
  }
  if (value === null || typeof value !== "object") {
    return value;
  }
  if (value.$ref) {
    return resolve(api.components.schemas[value.$ref.split("/").pop()], api);
  }
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item, api)]));
}

function addSchema(parent, title, schema) {
  const details = add(parent, "details", "");
  add(details, "summary", title);
  add(details, "pre", JSON.stringify(schema, null, 1)).tabIndex = 0;
}

function show(api) {
  find("title").textContent = api.info.title;
  find("description").textContent = api.info.description;
  for (const [path, methods] of Object.entries(api.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const section = document.createElement("section");
      add(add(section, "h2", ""), "code", `${method.toUpperCase()} ${path}`);
      add(section, "p", operation.summary);
      if (operation.description) {
        add(section, "p", operation.description, "note");
      }
      for (const parameter of operation.parameters || []) {
        add(section, "p", `?${parameter.name}= ${parameter.description}`, "note");
      }
      if (operation.requestBody) {
        for (const [type, { schema }] of Object.entries(operation.requestBody.content)) {
          addSchema(section, `Body: ${type}`, resolve(schema, api));
        }
      }
      for (const [status, response] of Object.entries(operation.responses)) {
        add(section, "p", `${status}: ${response.description}`, "note");
      }
      if (operation.requestBody) {
        const { schema } = operation.responses[200].content["application/json"];
        addSchema(section, "Answer: application/json", resolve(schema, api));
      }
      find("paths").append(section);
    }
  }
  const { content } = api.paths["/predict"].post.requestBody;
  find("request").value = JSON.stringify(content["application/json"].example);
  find("upload").hidden = !content["application/octet-stream"];
}

async function ask(body, type) {
  find("answer").textContent = "Waiting for the answer.";
  try {
    const response = await fetch("predict", { method: "POST", headers: { "content-type": type }, body });
    find("answer").textContent = `${response.status}\n${JSON.stringify(await response.json(), null, 1)}`;
  } catch {
    find("answer").textContent = "The server does not answer.";
  }
}

find("send").addEventListener("click", () => ask(find("request").value, "application/json"));
find("send-file").addEventListener("click", () => {
  const [file] = find("file").files;
  if (file) {
    ask(file, "application/octet-stream");
  }
});
fetch("openapi.json").then((response) => response.json()).then(show);
