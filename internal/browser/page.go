package browser

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// A Page is an open page. Its methods end the test when the browser cannot do
// what it is told to.
type Page struct {
	t        testing.TB
	devTools *devTools
	session  string
}

func (p *Page) call(method string, arguments params, result any) {
	p.t.Helper()
	if err := p.devTools.call(p.session, method, arguments, result); err != nil {
		p.t.Fatal(err)
	}
}

// Wait waits until a condition, an expression of JavaScript, holds on the page. It
// is looked at again whenever the page has changed.
func (p *Page) Wait(condition string) {
	p.t.Helper()
	const script = `new Promise(resolve => {
		const holds = () => { try { return Boolean(%s); } catch { return false; } };
		const limit = setTimeout(() => finish(false), %d);
		const observer = new MutationObserver(() => { if (holds()) finish(true); });
		const finish = result => {
			clearTimeout(limit);
			observer.disconnect();
			document.removeEventListener("readystatechange", look);
			resolve(result);
		};
		const look = () => { if (holds()) finish(true); };
		observer.observe(document, {subtree: true, childList: true, characterData: true, attributes: true});
		document.addEventListener("readystatechange", look);
		look();
	})`
	p.await(fmt.Sprintf(script, condition, (timeout/2).Milliseconds()), condition)
	for _, e := range p.devTools.exceptions(p.session) {
		p.t.Errorf("a script of the page has thrown: %s", e)
	}
}

// await waits until the promise that script returns has become true. A navigation
// destroys the script's world, promise and all: then it begins again in the next.
func (p *Page) await(script, condition string) {
	p.t.Helper()
	for end := time.Now().Add(timeout); time.Now().Before(end); {
		held, err := p.evaluate(script)
		switch {
		case err != nil && strings.Contains(err.Error(), "context was destroyed"):
		case err != nil:
			p.t.Fatal(err)
		case held == true:
			return
		default:
			p.t.Fatalf("the page does not come to %s; it shows:\n%s", condition, p.Text("body"))
		}
	}
	p.t.Fatalf("the page is not loaded within %v", timeout)
}

// Text returns the text of an element as it is shown.
func (p *Page) Text(selector string) string {
	p.t.Helper()
	text, err := p.evaluate(fmt.Sprintf("document.querySelector(%q).innerText", selector))
	if err != nil {
		p.t.Fatal(err)
	}
	s, _ := text.(string)
	return s
}

func (p *Page) evaluate(expression string) (any, error) {
	var answer struct {
		Result           struct{ Value any }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	arguments := params{"expression": expression, "awaitPromise": true, "returnByValue": true}
	err := p.devTools.call(p.session, "Runtime.evaluate", arguments, &answer)
	if e := answer.ExceptionDetails; err == nil && e != nil {
		err = fmt.Errorf("%s %s in: %s", e.Text, e.Exception.Description, expression)
	}
	return answer.Result.Value, err
}

// Click clicks in the middle of an element.
func (p *Page) Click(selector string) {
	p.t.Helper()
	value, err := p.evaluate(fmt.Sprintf(`(() => {
		const e = document.querySelector(%q);
		e.scrollIntoView({block: "center", behavior: "instant"});
		const box = e.getBoundingClientRect();
		return [box.x + box.width / 2, box.y + box.height / 2];
	})()`, selector))
	if err != nil {
		p.t.Fatal(err)
	}
	at := value.([]any)
	p.call("Page.bringToFront", nil, nil)
	for _, what := range []string{"mousePressed", "mouseReleased"} {
		p.call("Input.dispatchMouseEvent", params{"type": what, "x": at[0], "y": at[1], "button": "left", "clickCount": 1}, nil)
	}
}

// Type types a text, key by key.
func (p *Page) Type(text string) {
	p.t.Helper()
	p.call("Page.bringToFront", nil, nil)
	for _, c := range text {
		p.key(params{"key": string(c), "text": string(c)})
	}
}

// Press presses a key that has a name: Enter or Tab.
func (p *Page) Press(name string) {
	p.t.Helper()
	p.call("Page.bringToFront", nil, nil)
	switch name {
	case "Enter":
		p.key(params{"key": name, "code": name, "windowsVirtualKeyCode": 13, "text": "\r"})
	case "Tab":
		p.key(params{"key": name, "code": name, "windowsVirtualKeyCode": 9})
	default:
		p.t.Fatalf("no key is known by the name of %q", name)
	}
}

func (p *Page) key(k params) {
	p.t.Helper()
	k["type"] = "keyDown"
	p.call("Input.dispatchKeyEvent", k, nil)
	delete(k, "text")
	k["type"] = "keyUp"
	p.call("Input.dispatchKeyEvent", k, nil)
}

// Choose chooses a file in an <input type=file>, which opens a window of the
// operating system otherwise.
func (p *Page) Choose(selector, path string) {
	p.t.Helper()
	if _, err := os.Stat(path); err != nil {
		p.t.Fatal(err)
	}
	var document struct{ Root struct{ NodeID int } }
	p.call("DOM.getDocument", nil, &document)
	var input struct{ NodeID int }
	p.call("DOM.querySelector", params{"nodeId": document.Root.NodeID, "selector": selector}, &input)
	p.call("DOM.setFileInputFiles", params{"nodeId": input.NodeID, "files": []string{path}}, nil)
}
