package imapd

import (
	"bytes"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/emersion/go-imap/v2"
)

// parserOf parses text that holds no literal.
func parserOf(on features, text string) *parser {
	return &parser{s: &session{on: on, state: imap.ConnStateAuthenticated, limits: DefaultLimits()}, line: []byte(text), literals: maxLiterals}
}

// itemOf writes a section as a client asks for it.
func itemOf(sec *section) string {
	name, rest, _ := strings.Cut(sec.label, "[")
	if rest == "" {
		return sec.label // RFC822 and its like
	}
	if i := strings.LastIndexByte(rest, '<'); sec.Partial != nil && i >= 0 {
		rest = rest[:i]
	}
	if sec.Peek && sec.binary != binarySize {
		name += ".PEEK"
	}
	if sec.Partial != nil {
		rest += fmt.Sprintf("<%d.%d>", sec.Partial.Offset, sec.Partial.Size)
	}
	return name + "[" + rest
}

const partsOfAll = "From: a@b\nSubject: x\nContent-Type: multipart/mixed; boundary=o\n\npre\n--o\nContent-Transfer-Encoding: quoted-printable\n\na=3Db=\nc\n--o\n" +
	"Content-Type: message/rfc822\n\nSubject: inner\r\nContent-Type: multipart/alternative; boundary=i\n\n--i\n\none\n--i\nContent-Transfer-Encoding: base64\n\nAAEC\n//8=\n--i--\n--o\nContent-Transfer-Encoding: x-odd\n\n.\n--o--\n"

// FuzzSections: what FETCH understands of a section it writes so that it is
// understood again; a part of a section is that part of the whole; and a
// message in memory is answered like one that is read piece by piece, and
// like CATENATE takes it.
func FuzzSections(f *testing.F) {
	for _, item := range []string{"BODY[]", "BODY.PEEK[2.HEADER.FIELDS (subject \"to\")]<1.5>", "BODY[2.1.MIME]", "BODY[2.TEXT]<3.7>", "BODY[HEADER.FIELDS.NOT (From)]<0.9223372036854775807>",
		"BINARY[1]", "BINARY.PEEK[2.2]<1.3>", "BINARY.SIZE[2.2]", "BINARY[]<4.4>", "BINARY[3]", "RFC822.HEADER", "RFC822", "RFC822.TEXT", "BODY[1.2.3.4.5]", "BINARY[2]", "BODY[2]<9223372036854775807.1>"} {
		f.Add(item, []byte(partsOfAll))
	}
	f.Add("BINARY[1]<0.2>", []byte("Content-Transfer-Encoding: base64\n\n====AA=A\r\rBB\n"))
	f.Fuzz(func(t *testing.T, item string, message []byte) {
		if strings.Contains(item, "{") || len(message) > smallMessage {
			return
		}
		p, r := parserOf(0, item), &request{}
		if p.fetchItem(r, false) != nil || !p.done() || len(r.sections) == 0 {
			return
		}
		sec := r.sections[0]
		again := &request{}
		if q := parserOf(0, itemOf(&sec)); q.fetchItem(again, false) != nil || !q.done() || !reflect.DeepEqual(again.sections, r.sections) {
			t.Fatalf("%q is %+v, written %q, and then %+v", item, sec, itemOf(&sec), again.sections)
		}
		whole := sec
		whole.Partial = nil
		all, ok := contentOf(t, message, &whole, true)
		if !ok {
			return
		}
		from, to := within(int64(len(all)), sec.Partial)
		for _, small := range []bool{true, false} {
			if got, ok := contentOf(t, message, &sec, small); !ok || !bytes.Equal(got, all[from:to]) {
				t.Fatalf("%q of %q, in memory %v: %q, want %q", item, message, small, got, all[from:to])
			}
		}
		if sec.binary != notBinary {
			return
		}
		var taken bytes.Buffer
		if found, err := (&session{}).copySection(&taken, letterIn(message, false), &sec); err != nil || found && !bytes.Equal(taken.Bytes(), all[from:to]) {
			t.Fatalf("CATENATE takes %q of %q: %q, %v, want %q", item, message, taken.Bytes(), err, all[from:to])
		}
	})
}

func letterIn(message []byte, small bool) *letter {
	l := &letter{uid: 1, r: bytes.NewReader(message), size: int64(len(message))}
	if small {
		l.data = message
	}
	return l
}

// contentOf returns what FETCH answers for a section; it is not ok when it
// cannot be decoded. A size is taken as its digits.
func contentOf(t *testing.T, message []byte, sec *section, small bool) ([]byte, bool) {
	t.Helper()
	pipe := &pipeConn{}
	s := pipe.session()
	s.firstItem = true
	l := letterIn(message, small)
	if l.decodable(&request{sections: []section{*sec}}) != nil {
		return nil, false
	}
	if err := s.sendSection(l, sec); err != nil {
		t.Fatalf("%s of %q: %v", sec.label, message, err)
	}
	s.flush()
	s.conn.Flush()
	out, ok := bytes.CutPrefix(pipe.out.Bytes(), []byte(sec.label+" "))
	if !ok {
		t.Fatalf("%q does not begin with %q", pipe.out.Bytes(), sec.label)
	}
	if sec.binary == binarySize {
		return out, true
	}
	size, data, _ := bytes.Cut(out, []byte("}\r\n"))
	n, err := strconv.Atoi(string(bytes.TrimLeft(size, "~{")))
	if err != nil || n != len(data) {
		t.Fatalf("%q: %d octets, not %s", sec.label, len(data), size)
	}
	return data, true
}

// FuzzMessageURLs: a URL of a message and its parts is understood as it was
// meant.
func FuzzMessageURLs(f *testing.F) {
	f.Add("Drafts", uint32(385759045), uint32(20), "1.MIME", uint64(1), uint64(2))
	f.Add("پیک/a;b c%", uint32(0), uint32(1), "HEADER.FIELDS (A)", uint64(0), uint64(0))
	f.Add("", uint32(0), uint32(7), "", uint64(5), uint64(0))
	f.Fuzz(func(t *testing.T, box string, validity, uid uint32, section string, offset, length uint64) {
		offset, length = offset>>1, length>>1
		if box == "" {
			validity = 0
		}
		want := messageURL{mailbox: box, validity: validity, uid: uid, section: section}
		text := ""
		if box != "" {
			text = "/" + escaped(box)
			if validity != 0 {
				text += fmt.Sprintf(";UIDVALIDITY=%d", validity)
			}
			text += "/"
		}
		text += fmt.Sprintf(";UID=%d", uid)
		if section != "" {
			text += "/;SECTION=" + escaped(section)
		}
		if offset > 0 || length > 0 {
			want.partial = &imap.SectionPartial{Offset: int64(offset), Size: 1<<63 - 1}
			text += fmt.Sprintf("/;PARTIAL=%d", offset)
			if length > 0 {
				want.partial.Size = int64(length)
				text += fmt.Sprintf(".%d", length)
			}
		}
		valid := uid != 0 && len(text) <= maxURL && strings.Trim(section, "\r\n") == section
		if got, ok := parseMessageURL(text); ok != valid || ok && !reflect.DeepEqual(got, want) {
			t.Fatalf("%q is %+v, %v, want %+v, %v", text, got, ok, want, valid)
		}
	})
}

// escaped encodes all but letters and digits.
func escaped(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'z' {
			b.WriteByte(c)
			continue
		}
		fmt.Fprintf(&b, "%%%02x", text[i])
	}
	return b.String()
}
