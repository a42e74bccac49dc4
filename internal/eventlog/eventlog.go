// Package eventlog writes Peyk's log: one line per event on stderr, in logfmt
// or JSON, with an event name from a fixed vocabulary (peyk-log(7) lists it,
// and a test compares the two).
//
// A line never holds a secret or a message body. Control bytes, and bytes
// that are not UTF-8, are escaped, and a value is cut at 1,024 bytes, so that
// no input can forge a line or fill a disk.
package eventlog

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxValue is the longest value written, in bytes.
const maxValue = 1024

// An Event is the name of something that happened; the constants of this
// package are the whole vocabulary.
type Event string

// A Definition documents one event: what it means and which keys it carries
// besides time, program and event.
type Definition struct {
	Event   Event
	Meaning string
}

// Format is the shape of a line.
type Format int

// The formats of control log-format.
const (
	Logfmt Format = iota // key=value, quoted where needed
	JSON                 // one object a line
)

// Log writes events. The zero value and a nil *Log discard everything; a Log
// is safe for concurrent use.
type Log struct {
	out    *output
	fields []any // key, value, key, value … put on every line
}

type output struct {
	mu     sync.Mutex
	w      io.Writer
	format Format
	now    func() time.Time
	buf    []byte
}

// New returns a log of one program. Each event is one Write to w.
func New(w io.Writer, program string, format Format, now func() time.Time) *Log {
	return &Log{out: &output{w: w, format: format, now: now}, fields: []any{"program", program}}
}

// With returns a log that puts the given pairs on each of its lines, after
// those of l. Use it for "session" and "queue".
func (l *Log) With(pairs ...any) *Log {
	if l == nil {
		return nil
	}
	fields := append(append([]any(nil), l.fields...), pairs...)
	return &Log{out: l.out, fields: fields}
}

// Event writes one line: time, event, the fields of With, then the pairs.
// Values may be strings, numbers, booleans, durations, times, errors, or
// anything with a String method. Pairs whose value is an empty string or a
// nil error are left out.
func (l *Log) Event(e Event, pairs ...any) {
	if l == nil || l.out == nil {
		return
	}
	o := l.out
	o.mu.Lock()
	defer o.mu.Unlock()
	line := o.buf[:0]
	line = o.open(line, e)
	line = o.pairs(line, l.fields)
	line = o.pairs(line, pairs)
	if o.format == JSON {
		line = append(line, '}')
	}
	line = append(line, '\n')
	o.buf = line
	o.w.Write(line) // a full log disk must not stop mail: the line is dropped
}

func (o *output) open(line []byte, e Event) []byte {
	stamp := o.now().UTC().Format("2006-01-02T15:04:05.000000Z")
	if o.format == JSON {
		line = append(line, `{"time":"`...)
		line = append(line, stamp...)
		line = append(line, `","event":"`...)
		line = append(line, e...)
		return append(line, '"')
	}
	line = append(line, "time="...)
	line = append(line, stamp...)
	line = append(line, " event="...)
	return append(line, e...)
}

func (o *output) pairs(line []byte, pairs []any) []byte {
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			key = "badkey"
		}
		value := text(pairs[i+1])
		if value == "" {
			continue
		}
		if len(value) > maxValue {
			value = strings.ToValidUTF8(value[:maxValue], "") + "…"
		}
		line = o.pair(line, key, value)
	}
	return line
}

func (o *output) pair(line []byte, key, value string) []byte {
	if o.format == JSON {
		line = append(line, ',')
		line = strconv.AppendQuote(line, key)
		line = append(line, ':')
		return appendJSON(line, value)
	}
	line = append(line, ' ')
	line = append(line, key...)
	line = append(line, '=')
	if plain(value) {
		return append(line, value...)
	}
	return strconv.AppendQuoteToGraphic(line, value)
}

// appendJSON quotes value for JSON. Bidirectional controls are escaped too: a
// log is read on terminals.
func appendJSON(line []byte, value string) []byte {
	q, err := json.Marshal(value)
	if err != nil {
		return append(line, `""`...)
	}
	for _, r := range string(q) {
		if r != ' ' && !unicode.IsGraphic(r) {
			line = append(line, `\u`...)
			line = append(line, strconv.FormatInt(0x10000+int64(r&0xffff), 16)[1:]...)
			continue
		}
		line = utf8.AppendRune(line, r)
	}
	return line
}

// plain reports whether value may stand in logfmt without quotes.
func plain(value string) bool {
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f {
			return false
		}
	}
	return true
}

func text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case Event:
		return string(v)
	case []byte:
		return string(v)
	case error:
		return v.Error()
	case int:
		return strconv.Itoa(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case uint32:
		return strconv.FormatUint(uint64(v), 10)
	case uint64:
		return strconv.FormatUint(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case time.Duration:
		return v.Round(time.Microsecond).String()
	case time.Time:
		return v.UTC().Format(time.RFC3339)
	case interface{ String() string }:
		return v.String()
	}
	q, err := json.Marshal(v)
	if err != nil {
		return "unprintable"
	}
	return string(q)
}
