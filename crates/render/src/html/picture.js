(() => {
  const map = document.querySelector(".map"), cells = [...document.querySelectorAll(".cells i")];
  const slider = document.getElementById("o"), readout = document.querySelector(".readout");
  slider.closest("p").hidden = false;
  slider.addEventListener("input", () => {
    map.style.setProperty("--o", slider.value + "%");
    slider.nextElementSibling.value = slider.value + "%";
  });
  if (!cells.length) return;
  const columns = Number(cells[0].parentElement.dataset.columns), hint = "hover for values, or use the arrow keys";
  const tell = (cell) => { readout.textContent = cell ? cell.getAttribute("aria-label") : hint; };
  const linked = document.querySelector(".tops a");
  const first = linked ? document.getElementById(linked.hash.slice(1)) : cells[0];
  for (const [i, cell] of cells.entries()) {
    cell.removeAttribute("title");
    cell.tabIndex = cell === first ? 0 : -1;
    cell.addEventListener("mouseenter", () => tell(cell));
    cell.addEventListener("mouseleave", () => tell(document.activeElement.closest(".cells i")));
    cell.addEventListener("focus", () => tell(cell));
    cell.addEventListener("blur", () => tell(null));
    cell.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
      const next = cells[i + step];
      if (!step) return;
      event.preventDefault();
      if (!next || (Math.abs(step) === 1 && columns > 1 && Math.floor((i + step) / columns) !== Math.floor(i / columns))) return;
      cell.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }
  for (const link of document.querySelectorAll(".tops a")) {
    link.addEventListener("click", (event) => {
      event.preventDefault();
      document.getElementById(link.hash.slice(1)).focus();
    });
  }
  tell(null);
})();
