package imapd

import "strings"

// maxSubject bounds how much of a subject counts for its base.
const maxSubject = 4 << 10

// baseSubject takes the base of a decoded subject (RFC 5256 §2.1), and
// whether what was cut off tells of a reply or of something forwarded (§3,
// REFERENCES). It reads the subject once.
func baseSubject(subject string) (base string, reply bool) {
	s := oneSpaced(subject[:min(len(subject), maxSubject)]) // step 1
	for {
		var cut bool
		s, cut = trimTrailers(s) // step 2
		reply = reply || cut
		s, cut = trimLeaders(s) // steps 3 to 5
		reply = reply || cut
		inner, ok := forwarded(s) // step 6
		if !ok {
			return s, reply
		}
		s, reply = inner, true
	}
}

// oneSpaced makes a single space of each run of blanks.
func oneSpaced(s string) string {
	if !strings.Contains(s, "  ") && strings.IndexByte(s, '\t') < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := range len(s) {
		c := s[i]
		if c == '\t' {
			c = ' '
		}
		if c != ' ' || len(out) == 0 || out[len(out)-1] != ' ' {
			out = append(out, c)
		}
	}
	return string(out)
}

// trimTrailers removes every subj-trailer.
func trimTrailers(s string) (rest string, reply bool) {
	for {
		if t, ok := strings.CutSuffix(s, " "); ok {
			s = t
			continue
		}
		const fwd = "(fwd)"
		if len(s) < len(fwd) || !strings.EqualFold(s[len(s)-len(fwd):], fwd) {
			return s, reply
		}
		s, reply = s[:len(s)-len(fwd)], true
	}
}

// trimLeaders removes every subj-leader, and every subj-blob after which
// something is left.
func trimLeaders(s string) (rest string, reply bool) {
	for {
		if t, ok := strings.CutPrefix(s, " "); ok {
			s = t
			continue
		}
		last, after := blobs(s)
		if t, ok := cutRefwd(after); ok {
			s, reply = t, true
			continue
		}
		if after == "" {
			return last, reply // a blob that is all there is
		}
		if len(after) == len(s) {
			return s, reply
		}
		s = after
	}
}

// blobs skips each subj-blob that s begins with. last is s from the last of
// them on.
func blobs(s string) (last, after string) {
	last = s
	for {
		t, ok := cutBlob(s)
		if !ok {
			return last, s
		}
		last, s = s, t
	}
}

// cutBlob removes one subj-blob.
func cutBlob(s string) (rest string, ok bool) {
	if s == "" || s[0] != '[' {
		return s, false
	}
	i := strings.IndexAny(s[1:], "[]") + 1
	if i == 0 || s[i] == '[' {
		return s, false
	}
	return strings.TrimLeft(s[i+1:], " "), true
}

// cutRefwd removes subj-refwd: Re:, Fw: or Fwd:.
func cutRefwd(s string) (rest string, ok bool) {
	switch {
	case len(s) >= 2 && strings.EqualFold(s[:2], "re"):
		s = s[2:]
	case len(s) >= 3 && strings.EqualFold(s[:3], "fwd"):
		s = s[3:]
	case len(s) >= 2 && strings.EqualFold(s[:2], "fw"):
		s = s[2:]
	default:
		return s, false
	}
	s, _ = cutBlob(strings.TrimLeft(s, " "))
	return strings.CutPrefix(s, ":")
}

// forwarded takes off subj-fwd-hdr and subj-fwd-trl.
func forwarded(s string) (inner string, ok bool) {
	const header = "[fwd:"
	if len(s) < len(header)+1 || s[len(s)-1] != ']' || !strings.EqualFold(s[:len(header)], header) {
		return s, false
	}
	return s[len(header) : len(s)-1], true
}
