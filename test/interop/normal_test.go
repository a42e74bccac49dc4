package interop_test

import (
	"regexp"
	"slices"
	"strings"
)

var flagList = regexp.MustCompile(`(FLAGS )\(([^)]*)\)`)

// sortFlags puts the flags of a FETCH line into order.
func sortFlags(line string) string {
	line = strings.ReplaceAll(line, "( ", "(")
	return flagList.ReplaceAllStringFunc(line, func(list string) string {
		m := flagList.FindStringSubmatch(list)
		flags := strings.Fields(m[2])
		slices.Sort(flags)
		return m[1] + "(" + strings.Join(flags, " ") + ")"
	})
}

// sorted returns the lines that say something about mail, sorted.
func sorted(lines []string) []string {
	var kept []string
	for _, line := range lines {
		if strings.HasPrefix(line, "* ") && !strings.HasPrefix(line, "* OK") {
			kept = append(kept, line)
		}
	}
	slices.Sort(kept)
	return kept
}
