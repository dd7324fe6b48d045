// What the page keeps in the browser: the conversation's id, the language, the theme. Nothing leaves this machine.
window.rigfit = (() => {
  const store = {
    get: (key) => { try { return localStorage.getItem('rigfit.' + key); } catch { return null; } },
    set: (key, value) => { try { localStorage.setItem('rigfit.' + key, value); } catch { /* private window */ } },
  };
  const root = document.documentElement;
  const id = () => (crypto.randomUUID ? crypto.randomUUID()
    : Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join(''));
  const spoken = () => store.get('language') || ((navigator.language || 'en').startsWith('ru') ? 'ru' : 'en');

  const dark = () => document.body.classList.contains('dark');
  const paint = () => {
    const wanted = store.get('theme');
    if (wanted && document.body) document.body.classList.toggle('dark', wanted === 'dark');
  };
  const watch = () => {
    paint();
    new MutationObserver(() => { if (store.get('theme') && dark() !== (store.get('theme') === 'dark')) paint(); })
      .observe(document.body, { attributes: true, attributeFilter: ['class'] });
    new MutationObserver(label).observe(document.body, { childList: true, subtree: true });
  };
  if (document.body) watch(); else document.addEventListener('DOMContentLoaded', watch);

  // Shown only when it is in the reader's language and holds their conversation; never later than two seconds.
  root.lang = spoken();
  if (spoken() !== 'en' || store.get('talked')) root.classList.add('rf-wait');
  const ready = () => root.classList.remove('rf-wait');
  setTimeout(ready, 2000);

  // A sent message moves to the top of the conversation once; after that nothing moves while the answer streams.
  let sent = 0, moving = false;
  const toTop = () => {
    const scroller = document.querySelector('#rf-chat .bubble-wrap');
    const mine = document.querySelectorAll('#rf-chat .user-row');
    if (mine.length > sent) { moving = true; store.set('talked', '1'); }
    sent = mine.length;
    const last = mine[sent - 1];
    if (!scroller || !moving || !last) return;
    const answers = document.querySelectorAll('#rf-chat .bot-row').length >= sent;
    if (answers) moving = false;
    scroller.scrollTop += last.getBoundingClientRect().top - scroller.getBoundingClientRect().top - 10;
  };
  function label() {
    toTop();
    const words = document.querySelector('.rf-header')?.dataset || {};
    for (const [kind, word] of [['submit', words.send], ['stop', words.stop]]) {
      const button = document.querySelector(`#rf-box .${kind}-button`);
      if (button && word && button.title !== word) { button.setAttribute('aria-label', word); button.title = word; }
    }
  }

  document.addEventListener('click', async (event) => {
    const button = event.target.closest && event.target.closest('[data-rf-copy]');
    if (!button) return;
    const done = button.closest('[data-rf-copied]').dataset.rfCopied;
    const before = button.textContent;
    try { await navigator.clipboard.writeText(button.dataset.rfCopy); } catch { return; }
    button.textContent = done;
    setTimeout(() => { button.textContent = before; }, 1500);
  });

  return {
    memory: () => {
      if (!store.get('thread')) store.set('thread', id());
      return JSON.stringify({ thread: store.get('thread'), language: store.get('language') });
    },
    fresh: () => { store.set('thread', id()); store.set('talked', ''); },
    remember: (memory) => { if (memory) { store.set('thread', JSON.parse(memory).thread); store.set('talked', '1'); } },
    save: (file) => {
      if (!file) return;
      const { name, text } = JSON.parse(file);
      const link = document.createElement('a');
      link.href = URL.createObjectURL(new Blob([text], { type: 'text/markdown;charset=utf-8' }));
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    },
    language: (code) => { store.set('language', code); root.lang = code; },
    theme: () => { store.set('theme', dark() ? 'light' : 'dark'); paint(); },
    ready,
  };
})();
