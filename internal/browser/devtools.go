package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"example.com/websocket"
)

// devTools is a connection to the browser. Every request has a number, and its
// answer the same one. All pages share the connection: a message that concerns one
// of them carries its session.
type devTools struct {
	conn *websocket.Conn
	done chan struct{} // closed when nothing more is read

	mu      sync.Mutex
	last    int                    // number of a request
	waiting map[int]chan<- message // for answers
	thrown  map[string][]string    // by session: exceptions that no script has caught
	err     error                  // why nothing more is read
}

type params map[string]any

type request struct {
	ID        int    `json:"id"`
	Method    string `json:"method"`
	Params    params `json:"params,omitempty"`
	SessionID string `json:"sessionId,omitempty"`
}

// A message is an answer, which has an ID, or an event, which has a Method.
type message struct {
	ID        int
	Method    string
	SessionID string
	Params    json.RawMessage
	Result    json.RawMessage
	Error     *struct{ Message string }
}

// maxAnswer leaves room for a screenshot.
const maxAnswer = 64 << 20

func dialDevTools(url string) (*devTools, error) {
	ctx, cancel := withTimeout()
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url, &websocket.Options{ReadLimit: maxAnswer})
	if err != nil {
		return nil, err
	}
	d := &devTools{
		conn:    conn,
		done:    make(chan struct{}),
		waiting: make(map[int]chan<- message),
		thrown:  make(map[string][]string),
	}
	go d.read()
	return d, nil
}

func (d *devTools) close() {
	d.conn.Close()
	<-d.done
}

func (d *devTools) read() {
	defer close(d.done)
	for {
		_, data, err := d.conn.ReadMessage(context.Background())
		var m message
		if err == nil {
			err = json.Unmarshal(data, &m)
		}
		d.mu.Lock()
		if err != nil {
			d.err = err
			d.mu.Unlock()
			return
		}
		d.take(m)
		d.mu.Unlock()
	}
}

// take hands an answer to who waits for it, and keeps what is to be known of
// events. Called with mu held.
func (d *devTools) take(m message) {
	if answer := d.waiting[m.ID]; answer != nil {
		answer <- m
		delete(d.waiting, m.ID)
	}
	if m.Method == "Runtime.exceptionThrown" {
		d.thrown[m.SessionID] = append(d.thrown[m.SessionID], string(m.Params))
	}
}

// call sends a request and decodes its answer into result, if that is not nil.
func (d *devTools) call(session, method string, p params, result any) error {
	ctx, cancel := withTimeout()
	defer cancel()
	answer, err := d.send(ctx, session, method, p)
	if err != nil {
		return err
	}
	select {
	case m := <-answer:
		if m.Error != nil {
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(m.Result, result)
	case <-ctx.Done():
		return fmt.Errorf("%s: no answer within %v", method, timeout)
	case <-d.done:
		return fmt.Errorf("%s: %w", method, d.err)
	}
}

func (d *devTools) send(ctx context.Context, session, method string, p params) (<-chan message, error) {
	answer := make(chan message, 1)
	d.mu.Lock()
	d.last++
	id := d.last
	d.waiting[id] = answer
	d.mu.Unlock()
	data, err := json.Marshal(request{id, method, p, session})
	if err == nil {
		err = d.conn.WriteMessage(ctx, websocket.MessageText, data)
	}
	return answer, err
}

// exceptions returns what the scripts of a session have thrown.
func (d *devTools) exceptions(session string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.thrown[session]
}
