"use strict";
(() => {
{% include "explore_base.js" %}
{% for kind in explored | map(attribute="kind") | unique %}
{% include "explore_" ~ kind ~ ".js" %}
{% endfor %}
for (const root of document.querySelectorAll(".explorer")) {
  const data = JSON.parse(document.getElementById(root.dataset.source).textContent);
  explorers[root.dataset.kind](root, data);
}
})();
