package mailbox

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"peyk/internal/status"
)

// Limits of folder names.
const (
	maxDirName = 240 // octets of the directory name, below NAME_MAX
	maxLevels  = 32
)

// CanonicalName returns name with INBOX, as the whole name, in upper case.
func CanonicalName(name string) string {
	if strings.EqualFold(name, Inbox) {
		return Inbox
	}
	return name
}

// CheckName tells whether a folder may have this name: UTF-8, no control
// character, no slash, no empty level, not too long. The error is a
// *status.Error that wraps ErrName.
func CheckName(name string) error {
	if reason := badName(name); reason != "" {
		return status.Newf(553, "5.1.3", "cannot use this folder name: %s", reason).Because("", ErrName)
	}
	return nil
}

func badName(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case !utf8.ValidString(name):
		return "it is not UTF-8"
	case strings.ContainsFunc(name, unprintable):
		return "it holds a control character"
	case strings.Contains(name, "/"):
		return "it holds a slash"
	case strings.HasPrefix(name, Separator), strings.HasSuffix(name, Separator), strings.Contains(name, Separator+Separator):
		return "one of its levels is empty"
	case strings.Count(name, Separator) >= maxLevels:
		return "it has too many levels"
	case len(EncodeUTF7(name)) > maxDirName:
		return "it is too long"
	}
	return ""
}

func unprintable(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == '\ufeff' || unicode.Is(unicode.Bidi_Control, r)
}

// checkNewName is CheckName for a folder that is to be made: the wildcards of
// LIST are refused too (RFC 3501 §5.1: they need quoting in every client).
func checkNewName(name string) error {
	if strings.ContainsAny(name, "*%") {
		return status.New(553, "5.1.3", "cannot use this folder name: it holds * or %").Because("", ErrName)
	}
	return CheckName(name)
}

// dirOf returns the directory of a folder below the root: "" for INBOX,
// ".A.B" for others, in modified UTF-7 as Dovecot writes it.
func dirOf(name string) string {
	if name == Inbox {
		return ""
	}
	return "." + EncodeUTF7(name)
}

// nameOf is the inverse of dirOf for a directory found on disk. A directory
// that is not modified UTF-7 is taken as UTF-8, so that mail in it stays
// visible. ok is false for what can be no folder.
func nameOf(dir string) (name string, ok bool) {
	if len(dir) < 2 || dir[0] != '.' || dir[1] == '.' {
		return "", false
	}
	name, ok = DecodeUTF7(dir[1:])
	if !ok {
		name = dir[1:]
	}
	return name, badName(name) == "" && !strings.EqualFold(name, Inbox)
}

// parents returns the names above a folder, outermost first.
func parents(name string) []string {
	var up []string
	for i := range len(name) {
		if name[i] == Separator[0] {
			up = append(up, name[:i])
		}
	}
	return up
}

// below reports whether name is a child, at any depth, of parent.
func below(name, parent string) bool { return strings.HasPrefix(name, parent+Separator) }
