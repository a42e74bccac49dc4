package mailbox

import "testing"

func TestQuotaRules(t *testing.T) {
	none := Quota{Bytes: 7}
	for rule, want := range map[string]Quota{
		"":                           none,
		"*:bytes=100":                {Bytes: 100},
		"*:storage=2:messages=3":     {Bytes: 2048, Messages: 3},
		"*:storage=2M":               {Bytes: 2 << 20},
		"*:bytes=3g":                 {Bytes: 3 << 30},
		"*:bytes=-1":                 none,
		"*:bytes=99999999999999999T": none,
		"*:bytes=12MM":               none,
		"Trash:bytes=5":              none,
		"*:storage=":                 none,
	} {
		if got := ParseQuotaRule(rule, none); got != want {
			t.Errorf("%q gives %+v, want %+v", rule, got, want)
		}
	}
}
