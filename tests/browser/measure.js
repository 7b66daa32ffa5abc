// What is wrong with the page as it lies before the patient: each list has to be empty.
() => {
  const all = selector => [...document.querySelectorAll(selector)];
  const brief = element => element.outerHTML.slice(0, 120);
  const box = element => element.getBoundingClientRect();

  const wide = all("body *").filter(
    element => box(element).right > innerWidth + 1 && getComputedStyle(element).position !== "absolute",
  );

  // What sticks out of its column, though the page need not scroll for it.
  const main = document.querySelector("[data-intake]");
  const hidden = ".intake-vh, .intake-scroll *, [data-intake] *:has(> .intake-vh:only-child)";
  const edge = main && box(main).right - parseFloat(getComputedStyle(main).paddingInlineEnd);
  const spilled = all("[data-intake] *").filter(element => box(element).right > edge + 1 && !element.matches(hidden));

  // The parts of a date stand in one line as long as they find room in it.
  const crooked = all("[data-intake] .intake-date > * + *").filter(element => {
    const before = element.previousElementSibling;
    return box(element).left >= box(before).right && box(element).top !== box(before).top;
  });

  // WCAG 2.2, 2.5.8: a target is at least 24 by 24 pixels.
  const small = all("[data-intake] button, [data-intake] summary").filter(
    element => box(element).width && (box(element).width < 24 || box(element).height < 24),
  );

  // WCAG 2.2, 1.4.3: contrast of text with what is behind it.
  const linear = value => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([red, green, blue]) => 0.2126 * linear(red) + 0.7152 * linear(green) + 0.0722 * linear(blue);
  const colour = text => {
    const parts = (text.match(/[\d.]+/g) || []).map(Number);
    return parts.length < 4 ? [...parts, 1] : parts;
  };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const found = colour(getComputedStyle(at).backgroundColor);
      if (found[3] === 1) return found;
    }
    return [255, 255, 255, 1];
  };
  const pale = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    const words = walker.currentNode.data.trim();
    const style = getComputedStyle(element);
    if (!words || box(element).width < 2 || style.visibility === "hidden") continue;
    const [light, dark] = [luminance(colour(style.color)), luminance(behind(element))].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) pale.push(`${ratio.toFixed(1)} ${words.slice(0, 60)}`);
  }

  const unnamed = all("input:not([type=hidden]), textarea, select").filter(
    element => !element.labels?.length && !element.ariaLabel && !element.getAttribute("aria-labelledby"),
  );
  const ids = all("[id]").map(element => element.id);
  const named = ["aria-describedby", "aria-labelledby"].flatMap(name =>
    all(`[${name}]`).flatMap(element => element.getAttribute(name).split(/\s+/)),
  );

  return {
    overflow: document.documentElement.scrollWidth > innerWidth ? wide.map(brief) : [],
    spilled: spilled.map(brief),
    crooked: crooked.map(brief),
    small: small.map(brief),
    pale,
    unnamed: unnamed.map(brief),
    dangling: named.filter(id => id && !ids.includes(id)),
    repeated: ids.filter((id, at) => ids.indexOf(id) !== at),
    headings: all("h1").length,
    mains: all("main").length,
    language: document.documentElement.lang,
  };
}
