package mailbox

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// uidlistName is Dovecot's file that gives each message its UID:
//
//	3 V1275660208 N25022 G3085f01b7f11094c501100008c4a11c1
//	25006 W2345 S2300 :1276528487.M364837P9451.host,S=1355,W=1394
//
// A line is appended when a message gets its UID; the file is written anew
// when many of its lines are of messages that are gone.
const uidlistName = "dovecot-uidlist"

// maxUidlist bounds the file: that of more than ten million messages. A larger
// one is broken.
const maxUidlist = 1 << 30

// maxUID is the last UID; Dovecot keeps the one above for itself.
const maxUID = 1<<32 - 2

// errUidlist means that the file cannot be used; its line is in the text.
var errUidlist = errors.New("broken " + uidlistName)

// uidHeader is the first line.
type uidHeader struct {
	validity uint32
	next     uint32 // at least; a line with a higher UID raises it
	guid     string // 32 hex digits, or empty
	rest     string // fields that we do not know, kept
}

// uidRecord is one other line.
type uidRecord struct {
	uid  uint32
	base string
	size int64  // S: octets on disk, -1 if absent
	wire int64  // W: octets with CRLF, -1 if absent
	line string // all of it, without the line end
}

// parseUidHeader reads the first line, of version 3 or 1 (Courier's
// courierimapuiddb has version 1 too).
func parseUidHeader(line string) (uidHeader, error) {
	version, fields, _ := strings.Cut(line, " ")
	h, ok := uidHeader{}, false
	switch version {
	case "1":
		h, ok = parseHeaderV1(fields)
	case "3":
		h, ok = parseHeaderV3(fields)
	}
	if !ok || h.validity == 0 || h.next == 0 {
		return h, fmt.Errorf("%w: header %q", errUidlist, cut(line))
	}
	return h, nil
}

func parseHeaderV1(fields string) (h uidHeader, ok bool) {
	words := strings.Fields(fields)
	if len(words) < 2 {
		return h, false
	}
	v, verr := strconv.ParseUint(words[0], 10, 32)
	n, nerr := strconv.ParseUint(words[1], 10, 32)
	h.validity, h.next = uint32(v), uint32(n)
	return h, verr == nil && nerr == nil
}

func parseHeaderV3(fields string) (h uidHeader, ok bool) {
	var rest []string
	for word := range strings.FieldsSeq(fields) {
		value := word[1:]
		switch word[0] {
		case 'V', 'N':
			n, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return h, false
			}
			h.set(word[0], uint32(n))
		case 'G':
			if raw, err := hex.DecodeString(value); err != nil || len(raw) != 16 {
				return h, false
			}
			h.guid = value
		default:
			rest = append(rest, word)
		}
	}
	h.rest = strings.Join(rest, " ")
	return h, true
}

func (h *uidHeader) set(key byte, n uint32) {
	if key == 'V' {
		h.validity = n
		return
	}
	h.next = n
}

// append writes the header as Dovecot does.
func (h *uidHeader) append(dst []byte) []byte {
	dst = fmt.Appendf(dst, "3 V%d N%d", h.validity, h.next)
	if h.guid != "" {
		dst = append(append(dst, " G"...), h.guid...)
	}
	if h.rest != "" {
		dst = append(append(dst, ' '), h.rest...)
	}
	return append(dst, '\n')
}

// parseUidRecord reads one line "UID [FIELDS] :BASE" or, version 1, "UID BASE".
func parseUidRecord(line string, version1 bool) (uidRecord, error) {
	r := uidRecord{size: -1, wire: -1, line: line}
	n, rest := leadingInt(line)
	if n <= 0 || n > maxUID || !strings.HasPrefix(rest, " ") {
		return r, fmt.Errorf("%w: line %q", errUidlist, cut(line))
	}
	r.uid = uint32(n)
	rest = strings.TrimLeft(rest, " ")
	for !version1 && rest != "" && rest[0] != ':' {
		field, after, _ := strings.Cut(rest, " ")
		r.field(field)
		rest = strings.TrimLeft(after, " ")
	}
	if !version1 {
		rest = strings.TrimPrefix(rest, ":")
	}
	r.base, _ = splitName(rest)
	if r.base == "" || strings.Contains(r.base, "/") {
		return r, fmt.Errorf("%w: line %q", errUidlist, cut(line))
	}
	return r, nil
}

func (r *uidRecord) field(f string) {
	n, err := strconv.ParseInt(f[1:], 10, 64)
	if err != nil || n < 0 || n > maxMessage {
		return
	}
	switch f[0] {
	case 'S':
		r.size = n
	case 'W':
		r.wire = n
	}
}

// appendUidRecord writes a line. The sizes are written only where the base
// name does not hold them, as Dovecot does.
func appendUidRecord(dst []byte, uid uint32, base string, size, wire int64) []byte {
	dst = strconv.AppendUint(dst, uint64(uid), 10)
	s, w := sizesOf(base)
	if w < 0 && wire >= 0 {
		dst = strconv.AppendInt(append(dst, " W"...), wire, 10)
	}
	if s < 0 && size >= 0 {
		dst = strconv.AppendInt(append(dst, " S"...), size, 10)
	}
	dst = append(append(dst, " :"...), base...)
	return append(dst, '\n')
}

// uidReader reads lines of a uidlist, from the start or from where a former
// reader stopped.
type uidReader struct {
	text     string // complete lines
	torn     bool   // the file ends inside a line
	unsynced bool   // and that was never durable
	version1 bool
	last     uint32
}

// readFile is readLines for the rest of a uidlist. One that is too large has
// no lines.
func (u *uidReader) readFile(file *os.File) (int64, error) {
	info, err := file.Stat()
	if err != nil || info.Size() > maxUidlist {
		return 0, err
	}
	return u.readLines(file)
}

// readLines takes all of r, and returns how many octets it has used. A last
// line without an end is left out: its writer died, or has not finished. NUL in
// it is what a power cut leaves of an append that was not synced yet, where the
// new length of the file reached the disk and the text did not.
func (u *uidReader) readLines(r io.Reader) (int64, error) {
	raw, err := io.ReadAll(r)
	if err != nil {
		return 0, err
	}
	end := bytes.LastIndexByte(raw, '\n') + 1
	u.torn = end < len(raw)
	u.unsynced = bytes.IndexByte(raw[end:], 0) >= 0
	u.text = string(raw[:end])
	return int64(end), nil
}

func (u *uidReader) line() string {
	line, rest, _ := strings.Cut(u.text, "\n")
	u.text = rest
	return line
}

// header reads the first line.
func (u *uidReader) header() (uidHeader, error) {
	line := u.line()
	u.version1 = strings.HasPrefix(line, "1 ")
	return parseUidHeader(line)
}

// next returns the next record, io.EOF after the last. UIDs must ascend.
func (u *uidReader) next() (uidRecord, error) {
	if u.text == "" {
		return uidRecord{}, io.EOF
	}
	r, err := parseUidRecord(u.line(), u.version1)
	if err == nil && r.uid <= u.last {
		err = fmt.Errorf("%w: uid %d after %d", errUidlist, r.uid, u.last)
	}
	u.last = r.uid
	return r, err
}

// cut shortens text that goes into an error.
func cut(s string) string {
	if len(s) > 60 {
		return s[:60]
	}
	return s
}
