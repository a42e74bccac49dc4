package mailbox

import (
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
)

// needsHeader are the facts that are in the header.
const needsHeader = NeedEnvelope | NeedFields

// Facts is what is remembered of a message's content, ready to send.
type Facts struct {
	Have Need // what is filled in

	Envelope  []byte // ENVELOPE, with its parentheses (RFC 3501 §7.4.2)
	Structure []byte // BODYSTRUCTURE, with its parentheses
	Body      []byte // BODY, the same without extension data
	ID        string // a hash of the content: copies share it (EMAILID, RFC 8474 §5.1)
	Preview   string // PREVIEW, at most 200 characters
	ThreadID  string // THREADID (RFC 8474 §5.2); empty: the message names no message

	// Fields are the header fields of CachedFields, as they stand in the
	// message but with CRLF line ends, in order. See Knows.
	Fields      []byte
	FieldsWhole bool // false: they are too long, and Fields is empty
	others      names
	preview     []byte
}

// CachedFields are the header fields that clients ask for in lists of
// messages, and that searches look at; lower case.
const CachedFields = " bcc cc chat-version content-description content-type date disposition-notification-to from importance in-reply-to" +
	" lines list-archive list-help list-id list-owner list-post list-subscribe list-unsubscribe list-unsubscribe-post mailing-list" +
	" message-id newsgroups organization priority references reply-to resent-date resent-from resent-message-id resent-to sender subject to" +
	" x-k9mail-identity x-label x-mailer x-original-to x-priority x-uniform-type-identifier x-universally-unique-identifier user-agent "

// maxCachedFields bounds Fields.
const maxCachedFields = 4 << 10

// IsCachedField reports whether a header field, in whatever case, is one of
// CachedFields.
func IsCachedField(name string) bool {
	return len(name) > 0 && strings.IndexByte(name, ' ') < 0 && strings.Contains(CachedFields, " "+strings.ToLower(name)+" ")
}

// Knows reports whether Fields holds every field of this name that the
// message has; else only the file can tell.
func (a *Facts) Knows(name string) bool {
	if a.Have&NeedFields == 0 {
		return false
	}
	if IsCachedField(name) {
		return a.FieldsWhole
	}
	return !a.others.has(name)
}

// names is a set of names of header fields that may say yes for one that is
// not in it, and never no for one that is.
type names [4]uint64

func (n *names) add(name string)      { i := nameHash(name); n[i/64] |= 1 << (i % 64) }
func (n *names) has(name string) bool { i := nameHash(name); return n[i/64]&(1<<(i%64)) != 0 }
func (n *names) fill()                { *n = names{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)} }

// nameHash is FNV-1a of the name in lower case, folded to eight bits. It is
// part of the format of the cache.
func nameHash(name string) uint8 {
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

// takeFields keeps the fields of CachedFields; whole tells that the header was
// not cut.
func (a *Facts) takeFields(header []byte, whole bool) {
	a.FieldsWhole = whole
	if !whole {
		a.others.fill()
	}
	mimescan.RawFields(header, func(name, field []byte) bool {
		if !IsCachedField(string(name)) {
			a.others.add(string(name))
			return true
		}
		if a.FieldsWhole = a.FieldsWhole && len(a.Fields)+len(field) <= maxCachedFields; a.FieldsWhole {
			a.Fields = mimescan.AppendWire(a.Fields, field, false)
		}
		return true
	})
	if !a.FieldsWhole {
		a.Fields = nil
	}
	if n := len(a.Fields); n > 0 && a.Fields[n-1] != '\n' {
		a.Fields = append(a.Fields, "\r\n"...)
	}
	a.ThreadID = threadID(header)
}

// threadID hashes the first id of References, else of In-Reply-To, else the
// message's own: so that replies find their thread without looking at others.
func threadID(header []byte) string {
	var ids [3]string
	mimescan.Fields(header, func(name, value []byte) bool {
		for i, field := range [...]string{"References", "In-Reply-To", "Message-ID"} {
			if ids[i] == "" && strings.EqualFold(string(name), field) {
				ids[i] = firstID(string(value))
			}
		}
		return true
	})
	for _, id := range ids {
		if id != "" {
			sum := sha256.Sum256([]byte(id))
			return "T" + hex.EncodeToString(sum[:16])
		}
	}
	return ""
}

// firstID returns the first msg-id of a field (RFC 5322 §3.6.4).
func firstID(value string) string {
	_, after, ok := strings.Cut(value, "<")
	id, _, closed := strings.Cut(after, ">")
	if !ok || !closed {
		return ""
	}
	return id
}
