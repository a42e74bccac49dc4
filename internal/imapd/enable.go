package imapd

import (
	"slices"
	"strings"

	"github.com/emersion/go-imap/v2"
)

// features is a set of extensions that change what we send, so that a client
// must ask for them first (RFC 5161).
type features uint8

const (
	condstore  features = 1 << iota // RFC 7162 §3.1
	qresync                         // RFC 7162 §3.2
	uidOnly                         // RFC 9586
	rev2                            // RFC 9051
	utf8Accept                      // RFC 6855
)

// has reports whether one of these is on.
func (f features) has(one features) bool { return f&one != 0 }

// featureOf returns what a word of ENABLE turns on, 0 for one that we do not
// know.
func featureOf(word string) features {
	switch word {
	case "CONDSTORE":
		return condstore
	case "QRESYNC":
		return qresync
	case "UTF8=ACCEPT":
		return utf8Accept
	case "UIDONLY":
		return uidOnly
	case "IMAP4REV2":
		return rev2
	}
	return 0
}

// enable: RFC 5161. What is unknown is ignored.
func (s *session) enable(p *parser) (reply, error) {
	words, err := p.enableWords()
	if err != nil {
		return reply{}, err
	}
	line := "ENABLED"
	for i, w := range words {
		f := featureOf(w)
		if f == 0 || slices.Contains(words[:i], w) {
			continue
		}
		s.turnOn(f)
		line += " " + canonicalFeature(w)
	}
	s.untagged(line)
	return reply{}, nil
}

// canonicalFeature is a word of ENABLE as CAPABILITY has it.
func canonicalFeature(word string) string {
	if word == "IMAP4REV2" {
		return string(imap.CapIMAP4rev2)
	}
	return word
}

func (s *session) turnOn(f features) {
	if f.has(condstore | qresync) {
		s.aware()
	}
	if f.has(rev2) && s.sel != nil {
		s.sel.recent = nil // RFC 9051 Appendix E: there is no \Recent
	}
	if f.has(uidOnly) && s.sel != nil {
		for _, c := range s.sel.contexts {
			c.uid = true // RFC 9586 §3: no message numbers from now on
		}
	}
	s.on |= f
}

// maxEnable bounds the words of one ENABLE.
const maxEnable = 100

func (p *parser) enableWords() ([]string, error) {
	var words []string
	for first := true; first || !p.done(); first = false {
		if err := p.sp(); err != nil {
			return nil, err
		}
		w, err := p.atom()
		if err != nil {
			return nil, err
		}
		if len(words) == maxEnable {
			return nil, p.fail("more than %d words", maxEnable)
		}
		words = append(words, strings.ToUpper(w))
	}
	return words, p.end()
}
