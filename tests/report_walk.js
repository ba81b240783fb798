// Clicks through every category and every result of a Snakemake report; leaves what it saw as JSON in #walked.
const said = [], wait = (ms) => new Promise((done) => setTimeout(done, ms));
addEventListener("error", (event) => said.push({error: event.message}));
const links = () => [...document.querySelectorAll("#app nav a")];
const named = (name) => links().find((a) => a.innerText.trim() === name);
const rows = () => document.querySelectorAll("#app nav table tbody tr");
addEventListener("load", async () => {
  await wait(300);
  for (const category of links().map((a) => a.innerText.trim()).filter((name) => /^\d /.test(name))) {
    named(category).click();
    await wait(200);
    for (let number = 0; number < rows().length; number++) {
      const row = rows()[number];
      row.querySelector("a").click();
      await wait(200);
      const shown = [...document.querySelectorAll("#app *")].filter((node) => !node.closest("nav"));
      said.push({
        category,
        result: row.innerText.trim(),
        widths: shown.filter((node) => node.tagName === "IMG").map((image) => image.naturalWidth),
        pages: shown.filter((node) => node.tagName === "IFRAME").length,
      });
    }
    named("Results").click();
    await wait(200);
  }
  const walked = document.createElement("script");
  walked.id = "walked";
  walked.type = "application/json";
  walked.textContent = JSON.stringify(said);
  document.body.append(walked);
});
