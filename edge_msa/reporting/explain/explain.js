// The page works without this script: titles and tables have all values. It adds the values below the pointer and the
// keyboard focus to words and frames.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const find = (path) => path.split(".").reduce((value, name) => value[name], figures);
  const fixed = (value, digits) => {
    const text = value.toFixed(digits);
    return Number(text) === 0 ? text.replace("-", "") : text;
  };
  const signed = (value) => { const text = fixed(value, 3); return Number(text) > 0 ? `+${text}` : text; };
  const describe = (cells, index) => {
    const parts = [];
    if (cells.effect[index] !== null) parts.push(`effect ${signed(cells.effect[index])}`);
    if (cells.attention[index] !== null) parts.push(`attention ${fixed(cells.attention[index], 2)}`);
    const noisy = cells.noise?.attention[index] ?? null;
    if (noisy !== null) parts.push(`with noise ${fixed(noisy, 2)}`);
    return parts.join(", ");
  };
  const name = (cells, index) => {
    const [first, last] = cells.segments[index];
    if (cells.words.length) return `word ${index + 1}, ${cells.words[index]}`;
    return first === last ? `frame ${first}` : `frames ${first} to ${last}`;
  };
  const target = (key, index, count) => ({
    ArrowLeft: index - 1, ArrowDown: index - 1, ArrowRight: index + 1, ArrowUp: index + 1,
    PageDown: index - 10, PageUp: index + 10, Home: 0, End: count - 1,
  })[key];

  for (const sample of all(".sample")) {
    const words = all(".words .word", sample);
    const strips = all(".frame-strip", sample).map((strip) => {
      const cells = find(strip.dataset.path);
      const count = cells.segments.length;
      const plot = strip.querySelector(".strip-plot");
      const cursor = strip.querySelector(".cursor");
      const readout = strip.querySelector(".readout");
      const mark = (index) => {
        cursor.hidden = index === null;
        readout.textContent = index === null ? "" : `${name(cells, index)}: ${describe(cells, index)}`;
        if (index === null) return;
        cursor.style.left = `${(100 * index) / count}%`;
        cursor.style.width = `${100 / count}%`;
      };
      return { strip, cells, count, plot, mark, isLanguage: strip.dataset.modality === "language" };
    });
    const language = strips.find((item) => item.isLanguage && words.length === item.count);
    const markWord = (index) => {
      words.forEach((word, position) => word.classList.toggle("current", position === index));
      language?.mark(index);
    };

    for (const item of strips) {
      const mark = item === language ? markWord : item.mark;
      const { plot, cells, count } = item;
      let current = Math.max(0, cells.noise?.cell ?? 0);
      const select = (index) => {
        current = index;
        plot.setAttribute("aria-valuenow", index + 1);
        plot.setAttribute("aria-valuetext", `${name(cells, index)}: ${describe(cells, index)}`);
      };
      plot.setAttribute("role", "slider");
      plot.setAttribute("aria-label", item.strip.dataset.label);
      plot.setAttribute("aria-valuemin", 1);
      plot.setAttribute("aria-valuemax", count);
      plot.tabIndex = 0;
      select(current);
      plot.addEventListener("pointermove", (event) => {
        const box = plot.getBoundingClientRect();
        mark(Math.min(count - 1, Math.max(0, Math.floor(((event.clientX - box.x) / box.width) * count))));
      });
      plot.addEventListener("pointerleave", () => mark(plot === document.activeElement ? current : null));
      plot.addEventListener("focus", () => mark(current));
      plot.addEventListener("blur", () => mark(null));
      plot.addEventListener("keydown", (event) => {
        const index = target(event.key, current, count);
        if (index === undefined) return;
        event.preventDefault();
        select(Math.min(count - 1, Math.max(0, index)));
        mark(current);
      });
    }

    const list = sample.querySelector(".words");
    if (!list) continue;
    list.setAttribute("role", "listbox");
    words.forEach((word, index) => {
      word.setAttribute("role", "option");
      word.setAttribute("aria-selected", "false");
      word.tabIndex = index ? -1 : 0;
      word.removeAttribute("title");
      word.addEventListener("pointerenter", () => markWord(index));
      word.addEventListener("pointerleave", () => markWord(null));
      word.addEventListener("focus", () => {
        for (const other of words) other.tabIndex = other === word ? 0 : -1;
        markWord(index);
      });
      word.addEventListener("blur", () => markWord(null));
      word.addEventListener("keydown", (event) => {
        const next = target(event.key, index, words.length);
        if (next === undefined) return;
        event.preventDefault();
        words[Math.min(words.length - 1, Math.max(0, next))].focus();
      });
    });
  }
})();
