package queuerun

import "testing"

func TestWordsOfRemote(t *testing.T) {
	for reply, want := range map[string]struct {
		host   string
		passed bool
	}{
		"250 2.1.5 relayed to mx.far.test[192.0.2.1] dsn=yes said: 250 ok":            {"mx.far.test", true},
		"250 2.1.5 relayed to mx.far.test[192.0.2.1] dsn=no said: 250 ok dsn=yes":     {"mx.far.test", false},
		"250 2.1.5 relayed to mx.far.test[192.0.2.1] dsn=no said: x dsn=yes said: ok": {"mx.far.test", false},
		"550 5.1.1 host mx.far.test[192.0.2.1] said: 550 no":                          {"mx.far.test", false},
		"451 4.4.1 host mx.far.test: cannot connect":                                  {"mx.far.test", false},
		"451 4.4.1 <a@far.test> host [192.0.2.1]: cannot connect":                     {"[192.0.2.1]", false},
		"250 2.1.5 <a@far.test> relayed to mx.far.test[192.0.2.1] dsn=yes said: ok":   {"mx.far.test", true},
		"550 5.1.1 host":      {"", false},
		"250 2.0.0 delivered": {"", false},
		"":                    {"", false},
		"250 relayed to":      {"", false},
	} {
		if host, passed := hostOf(reply), dsnPassedOn(reply); host != want.host || passed != want.passed {
			t.Errorf("%q: host %q, passed on %v", reply, host, passed)
		}
	}
}

func TestEnhanced(t *testing.T) {
	for reply, want := range map[string]string{"250 2.1.5 ok": "2.1.5", "250 ok": "2.0.0", "": "2.0.0", "250 a.b.c": "2.0.0"} {
		if got := enhanced(reply, "2.0.0"); got != want {
			t.Errorf("%q: %s", reply, got)
		}
	}
}
