package forecast

import "testing"

func TestParseSourceReadsWhatStringWrites(t *testing.T) {
	for text, want := range map[string]Source{
		"kube-system/carbon-intensity/data": {Namespace: "kube-system", Name: "carbon-intensity", Key: "data"},
		"a//":                               {Namespace: "a"},
	} {
		got := ParseSource(text)
		if got != want || got.String() != text {
			t.Errorf("%q is %+v, written as %q; want %+v", text, got, got.String(), want)
		}
	}
}

func TestParseSourceRefusesOtherText(t *testing.T) {
	for _, text := range []string{"", "data", "carbon-intensity/data", "a/b/c/d"} {
		if got := ParseSource(text); got != (Source{}) {
			t.Errorf("%q is %+v, want the zero source", text, got)
		}
	}
}
