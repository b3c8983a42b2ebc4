// Bokeh styles its figures with <style> elements that it makes in the browser. The page's policy forbids inline styles but
// those that carry the nonce of this response, so every style element made by a script gets it here.
"use strict";

(() => {
  const nonce = document.currentScript.nonce;
  const create = Document.prototype.createElement;
  Document.prototype.createElement = function (name, options) {
    const element = create.call(this, name, options);
    if (element instanceof HTMLStyleElement) element.nonce = nonce;
    return element;
  };
})();
