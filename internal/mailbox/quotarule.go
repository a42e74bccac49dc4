package mailbox

import (
	"strconv"
	"strings"
)

// ParseQuotaRule understands Dovecot's quota rule for all folders together, such as
// *:bytes=1073741824, *:storage=1G:messages=1000, or a plain size. Without
// one, or with one that cannot be read, the default holds.
func ParseQuotaRule(rule string, otherwise Quota) Quota {
	limits, ok := strings.CutPrefix(rule, "*:")
	if !ok {
		return otherwise
	}
	q := otherwise
	for limit := range strings.SplitSeq(limits, ":") {
		name, value, _ := strings.Cut(limit, "=")
		switch name {
		case "bytes":
			setSize(&q.Bytes, value, 1)
		case "storage": // in KiB unless it says otherwise
			setSize(&q.Bytes, value, 1<<10)
		case "messages":
			setSize(&q.Messages, value, 1)
		}
	}
	return q
}

// setSize sets *to to a number with an optional suffix B, K, M, G or T.
func setSize(to *int64, text string, unit int64) {
	digits := strings.TrimRight(text, "bBkKmMgGtT")
	switch strings.ToUpper(text[len(digits):]) {
	case "":
	case "B":
		unit = 1
	case "K":
		unit = 1 << 10
	case "M":
		unit = 1 << 20
	case "G":
		unit = 1 << 30
	case "T":
		unit = 1 << 40
	default:
		return
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err == nil && n >= 0 && n <= (1<<62)/unit {
		*to = n * unit
	}
}
