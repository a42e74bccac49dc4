package mailbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"iter"
	"strings"

	"peyk/internal/mimescan"
)

// Need says which facts about a message are wanted.
type Need uint16

// What Facts can hold. NeedEnvelope and NeedFields ask for the header only;
// all others make a message be read whole, once.
const (
	NeedEnvelope  Need = 1 << iota
	NeedFields         // Fields, ThreadID
	NeedStructure      // Structure
	NeedBody           // Body
	NeedID             // ID
	NeedPreview        // Preview

	// NeedMessage asks for the message itself, if it is small.
	NeedMessage
	// NeedQuick goes without the preview of messages for which much would
	// have to be read.
	NeedQuick
)

// needsHeader are the facts that are in the header, needsCache those that are
// remembered.
const (
	needsHeader = NeedEnvelope | NeedFields
	needsCache  = needsHeader | NeedStructure | NeedBody | NeedID | NeedPreview
)

// Facts is what is remembered of a message's content, ready to send.
type Facts struct {
	Have Need // what is filled in

	Envelope  []byte // ENVELOPE, with its parentheses (RFC 3501 §7.4.2)
	Structure []byte // BODYSTRUCTURE, with its parentheses
	Body      []byte // BODY, the same without extension data
	ID        string // a hash of the content: copies share it (EMAILID, RFC 8474 §5.1)
	Preview   string // PREVIEW, at most 200 characters
	ThreadID  string // THREADID (RFC 8474 §5.2); empty: the message names no message

	// Fields are header fields as they stand in the message, but with CRLF
	// line ends, in order: all but the traces of transport, or at least those
	// that lists and searches are about, or none. Ask Knows.
	Fields      []byte
	FieldsWhole bool // those of IsListField are all there
	others      names
	preview     []byte

	// Message is all of the message as it stands on disk, nil when it is not
	// small. It is not remembered.
	Message []byte
}

// maxCachedFields bounds Fields.
const maxCachedFields = 4 << 10

// IsListField reports whether a header field, in whatever case, is one that
// clients ask for in lists of messages, or that searches look at.
func IsListField(name []byte) bool {
	switch len(name) {
	case 2:
		return isOneOf(name, "To", "Cc")
	case 3:
		return isOneOf(name, "Bcc")
	case 4:
		return isOneOf(name, "Date", "From")
	case 5:
		return isOneOf(name, "Lines")
	case 6:
		return isOneOf(name, "Sender")
	case 7:
		return isOneOf(name, "Subject", "List-Id", "X-Label")
	case 8:
		return isOneOf(name, "Reply-To", "Priority", "X-Mailer")
	case 9:
		return isOneOf(name, "List-Post", "List-Help")
	case 10:
		return isOneOf(name, "Message-ID", "References", "Newsgroups", "Importance", "X-Priority", "User-Agent")
	case 11, 12:
		return isOneOf(name, "In-Reply-To", "Resent-Date", "Resent-From", "Content-Type", "Chat-Version", "Mailing-List")
	}
	return isOneOf(name, "List-Unsubscribe", "List-Subscribe", "List-Unsubscribe-Post", "Content-Description",
		"Disposition-Notification-To", "X-Original-To", "X-K9mail-Identity", "X-Universally-Unique-Identifier",
		"X-Uniform-Type-Identifier")
}

// isTrace reports whether a header field is of the kind that is long, is put
// in by the machines on the way, and is seldom asked for.
func isTrace(name []byte) bool {
	switch name[0] {
	case 'R', 'r':
		return isOneOf(name, "Received", "Received-SPF")
	case 'A', 'a':
		return begins(name, "ARC-") || isOneOf(name, "Authentication-Results", "Autocrypt")
	case 'D', 'd':
		return isOneOf(name, "DKIM-Signature", "DomainKey-Signature")
	case 'F', 'f':
		return isOneOf(name, "Face")
	case 'X', 'x':
		return begins(name, "X-MS-") || begins(name, "X-Microsoft-") || begins(name, "X-Google-") || begins(name, "X-Forefront-") ||
			begins(name, "X-Received") || begins(name, "X-Spam-") || begins(name, "X-Face") || begins(name, "X-Gm-")
	}
	return false
}

func isOneOf(name []byte, words ...string) bool {
	for _, w := range words {
		if len(w) == len(name) && strings.EqualFold(w, string(name)) {
			return true
		}
	}
	return false
}

func begins(name []byte, with string) bool {
	return len(name) >= len(with) && strings.EqualFold(string(name[:len(with)]), with)
}

// Knows reports whether Fields holds every field of this name that the
// message has; else only the file can tell.
func (a *Facts) Knows(name string) bool {
	if a.Have&NeedFields == 0 {
		return false
	}
	if IsListField([]byte(name)) {
		return a.FieldsWhole
	}
	return !a.others.has([]byte(name))
}

// names is a set of names of header fields that may say yes for one that is
// not in it, and never no for one that is.
type names [4]uint64

func (n *names) add(name []byte)      { i := nameHash(name); n[i/64] |= 1 << (i % 64) }
func (n *names) has(name []byte) bool { i := nameHash(name); return n[i/64]&(1<<(i%64)) != 0 }
func (n *names) fill()                { *n = names{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)} }

// nameHash is FNV-1a of the name in lower case, folded to eight bits. It is
// part of the format of the cache.
func nameHash(name []byte) uint8 {
	h := uint32(2166136261)
	for i := range len(name) {
		c := name[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		h = (h ^ uint32(c)) * 16777619
	}
	h ^= h >> 16
	return uint8(h ^ h>>8)
}

// Facts returns what is wanted to be known of a message. The error wraps
// ErrGone when it was expunged. For many messages EachFacts is faster.
func (f *Folder) Facts(uid uint32, need Need) (*Facts, error) {
	var facts *Facts
	err := f.EachFacts(func(yield func(uint32) bool) { yield(uid) }, need, func(_ uint32, a *Facts, err error) error {
		facts = a
		return err
	})
	return facts, err
}

// EachFacts calls do with the facts of each message, in the order of uids,
// until do returns an error. err is what kept the facts of one message from
// being known, ErrGone when it was expunged. The facts hold until do returns.
// While do works, messages ahead of it are read; nothing more is read after
// the return.
func (f *Folder) EachFacts(uids iter.Seq[uint32], need Need, do func(uid uint32, facts *Facts, err error) error) error {
	w := f.newWalk(need)
	defer w.close()
	for uid := range uids {
		if err := w.push(uid, do); err != nil {
			return err
		}
	}
	return w.drain(do)
}

// takeHeader takes all facts of the header, since they cost little; whole
// tells that it was not cut.
func (a *Facts) takeHeader(header []byte, whole bool) {
	var e mimescan.Envelope
	var thread threadFields
	a.FieldsWhole = whole
	fields, tooLong := a.Fields, false
	mimescan.EachField(header, func(name, value, field []byte) {
		e.Add(name, value)
		thread.add(name, value)
		trace := isTrace(name)
		if tooLong = tooLong || !trace && len(fields)+len(field) > maxCachedFields; tooLong || trace {
			a.others.add(name)
			return
		}
		fields = mimescan.AppendWire(fields, field, false)
	})
	a.ThreadID = thread.id()
	if !whole {
		a.others.fill()
	}
	if tooLong || !whole {
		fields = a.onlyListFields(header, fields[:0])
	}
	if n := len(fields); n > 0 && fields[n-1] != '\n' {
		fields = append(fields, "\r\n"...)
	}
	a.Fields = fields
	if a.Have&NeedEnvelope == 0 {
		a.Envelope = append(e.Append(append(a.Envelope, '(')), ')')
	}
	a.Have |= NeedEnvelope | NeedFields
}

// onlyListFields keeps the fields of IsListField only, if they are not too
// long.
func (a *Facts) onlyListFields(header, fields []byte) []byte {
	mimescan.RawFields(header, func(name, field []byte) bool {
		if !IsListField(name) {
			a.others.add(name)
			return true
		}
		if a.FieldsWhole = a.FieldsWhole && len(fields)+len(field) <= maxCachedFields; a.FieldsWhole {
			fields = mimescan.AppendWire(fields, field, false)
		}
		return true
	})
	if !a.FieldsWhole {
		return fields[:0]
	}
	return fields
}

// threadFields are the fields that say which thread a message belongs to, the
// most telling last.
type threadFields [3][]byte

func (t *threadFields) add(name, value []byte) {
	i := -1
	switch {
	case len(name) == 10 && isOneOf(name, "References"):
		i = 2
	case len(name) == 11 && isOneOf(name, "In-Reply-To"):
		i = 1
	case len(name) == 10 && isOneOf(name, "Message-ID"):
		i = 0
	}
	if i >= 0 && t[i] == nil {
		t[i] = firstID(value)
	}
}

// id hashes the first id of References, else of In-Reply-To, else the
// message's own: so that replies find their thread without looking at others.
func (t *threadFields) id() string {
	for i := len(t) - 1; i >= 0; i-- {
		if t[i] != nil {
			sum := sha256.Sum256(t[i])
			return "T" + hex.EncodeToString(sum[:16])
		}
	}
	return ""
}

// firstID returns the first msg-id of a field (RFC 5322 §3.6.4).
func firstID(value []byte) []byte {
	_, after, ok := bytes.Cut(value, []byte{'<'})
	id, _, closed := bytes.Cut(after, []byte{'>'})
	if !ok || !closed || len(id) == 0 {
		return nil
	}
	return id
}
