for (const head of document.querySelectorAll('th[data-sort]')) head.onclick = () => {
  const body = head.closest('table').tBodies[0], at = head.cellIndex, up = head.dataset.sort !== 'up';
  head.dataset.sort = up ? 'up' : 'down';
  const key = row => { const text = row.cells[at].textContent, n = parseFloat(text); return isNaN(n) ? text : n; };
  [...body.rows].sort((a, b) => (key(a) > key(b) ? 1 : -1) * (up ? 1 : -1)).forEach(row => body.append(row));
};
const hints = () => document.querySelectorAll('.wide').forEach(box => {
  const hint = box.previousElementSibling;
  if (hint && hint.className === 'hint') hint.style.display = box.scrollWidth > box.clientWidth ? 'block' : 'none';
});
addEventListener('resize', hints);
hints();
const closed = [];
addEventListener('beforeprint', () => document.querySelectorAll('details:not([open])').forEach(one => { one.open = true; closed.push(one); }));
addEventListener('afterprint', () => closed.splice(0).forEach(one => { one.open = false; }));
