package spool

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"peyk/internal/envelope"
)

// An Action is what became of a recipient, in the words of RFC 3464 §2.3.3.
type Action string

// The actions of a journal.
const (
	Delivered Action = "delivered" // into a mailbox
	Relayed   Action = "relayed"   // to another host
	Expanded  Action = "expanded"  // into several addresses, and the sender was told
	Failed    Action = "failed"    // for good, and the sender was told if that was wanted
	Delayed   Action = "delayed"   // to be tried again
)

// Record is one line of a journal: what one attempt did for one recipient.
type Record struct {
	Time     time.Time // of the attempt, whole seconds
	Action   Action
	Status   string    // enhanced status code (RFC 3463)
	Original string    // the recipient as the envelope has it
	Final    string    // the address after aliases; "" when it has none
	Host     string    // who gave the reply; "" when nobody was asked
	Next     time.Time // the next attempt, whole seconds; zero unless delayed
	Reply    string    // one line of text
}

// Done reports whether there is nothing left to do for the recipient.
func (r *Record) Done() bool { return r.Action != Delayed }

// Untried reports whether the record only says that the recipient is one of
// those that an alias stood for: nothing was tried, so nobody replied.
func (r *Record) Untried() bool { return r.Action == Delayed && r.Reply == "" }

// ErrJournal is a journal that no crash explains: it was damaged.
var ErrJournal = errors.New("cannot read journal: it is damaged")

const (
	maxReply   = 512     // octets of a reply that are kept
	maxJournal = 1 << 28 // octets of a journal that are read: 10,000 recipients, tried 60 times
	stamp      = "2006-01-02T15:04:05Z"
)

// AppendRecord appends the journal line of r to dst: eight hexadecimal digits of
// CRC-32 over the rest of the line, then time, action, status, original and
// final recipient, host and next attempt, each without blanks (xtext, "-"
// when there is none), then the reply.
func AppendRecord(dst []byte, r *Record) []byte {
	start := len(dst)
	dst = append(dst, "00000000 "...)
	dst = r.Time.UTC().AppendFormat(dst, stamp)
	dst = append(dst, ' ')
	dst = append(dst, r.Action...)
	for _, word := range [...]string{r.Status, r.Original, r.Final, r.Host} {
		dst = append(dst, ' ')
		dst = appendWord(dst, word)
	}
	dst = append(dst, ' ')
	if r.Next.IsZero() {
		dst = append(dst, '-')
	} else {
		dst = r.Next.UTC().AppendFormat(dst, stamp)
	}
	dst = append(dst, ' ')
	dst = append(dst, oneLine(r.Reply)...)
	sum := crc32.ChecksumIEEE(dst[start+9:])
	copy(dst[start:], fmt.Appendf(nil, "%08x", sum))
	return append(dst, '\n')
}

func appendWord(dst []byte, s string) []byte {
	switch s {
	case "":
		return append(dst, '-')
	case "-":
		return append(dst, "+2D"...)
	}
	return append(dst, envelope.EncodeXtext(s)...)
}

// oneLine makes a reply fit for one line of a journal: no control characters,
// nothing but UTF-8, cut at 512 octets. Remote hosts choose this text.
func oneLine(s string) string {
	if len(s) > 4*maxReply {
		s = s[:4*maxReply]
	}
	s = strings.ToValidUTF8(s, "?")
	s = strings.Map(func(r rune) rune {
		if r != ' ' && !unicode.IsGraphic(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.TrimSpace(s)
	for len(s) > maxReply || !utf8.ValidString(s) {
		s = s[:len(s)-1]
	}
	return s
}

// ParseJournal reads a journal. What follows the last line feed is a record
// that a crash tore: it is left out, and whole is the length of the rest.
// Anything else that AppendRecord did not write is ErrJournal.
func ParseJournal(data []byte) (records []Record, whole int64, err error) {
	end := bytes.LastIndexByte(data, '\n') + 1
	text := string(data[:end])
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		text = rest
		r, err := parseRecord(line)
		if err != nil {
			return nil, 0, err
		}
		records = append(records, r)
	}
	return records, int64(end), nil
}

func parseRecord(line string) (Record, error) {
	var r Record
	words := strings.SplitN(line, " ", 9)
	if len(words) != 9 {
		return r, ErrJournal
	}
	r.Action, r.Reply = Action(words[2]), words[8]
	errs := [...]error{
		parseTime(words[1], &r.Time), parseWord(words[3], &r.Status), parseWord(words[4], &r.Original),
		parseWord(words[5], &r.Final), parseWord(words[6], &r.Host), parseTime(words[7], &r.Next), r.Action.check(),
	}
	if errors.Join(errs[:]...) != nil {
		return r, ErrJournal
	}
	// One spelling for each record, and the checksum, in one comparison.
	if string(AppendRecord(nil, &r)) != line+"\n" {
		return r, ErrJournal
	}
	return r, nil
}

func (a Action) check() error {
	switch a {
	case Delivered, Relayed, Expanded, Failed, Delayed:
		return nil
	}
	return errors.New("unknown action " + strconv.Quote(string(a)))
}

func parseTime(word string, t *time.Time) error {
	if word == "-" {
		return nil
	}
	parsed, err := time.Parse(stamp, word)
	*t = parsed
	return err
}

func parseWord(word string, s *string) error {
	if word == "-" {
		return nil
	}
	decoded, err := envelope.DecodeXtext(word)
	*s = decoded
	return err
}

// State is what a journal amounts to.
type State struct {
	Last     map[Target]*Record // the newest record of each recipient
	Finals   map[string]bool    // addresses to which the message was delivered or relayed
	Attempts int                // rounds after which something was left to do
	Next     time.Time          // the next attempt; zero when nothing waits
}

// Target is one recipient after aliases.
type Target struct{ Original, Final string }

// Fold computes the state that a journal describes.
func Fold(records []Record) State {
	s := State{Last: make(map[Target]*Record), Finals: make(map[string]bool)}
	var round time.Time
	for i := range records {
		r := &records[i]
		s.Last[Target{r.Original, r.Final}] = r
		if r.Action == Delivered || r.Action == Relayed {
			s.Finals[r.Final] = true
		}
		if r.Action == Delayed && !r.Untried() && !r.Time.Equal(round) {
			round = r.Time
			s.Attempts++
		}
	}
	for _, r := range s.Last {
		if !r.Done() && (s.Next.IsZero() || r.Next.Before(s.Next)) {
			s.Next = r.Next
		}
	}
	return s
}
