package serving

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDecodeReadsAPartUpToItsLimit(t *testing.T) {
	for name, tt := range map[string]struct {
		text     string
		want     map[string]int
		tooLarge bool
		err      string
	}{
		"an object":                    {`{"a":1,"b":2}`, map[string]int{"a": 1, "b": 2}, false, ""},
		"a null":                       {`null`, nil, false, ""},
		"more than the limit":          {`{"a":` + strings.Repeat(" ", 64) + `1}`, nil, true, "part: want at most 0 KiB"},
		"something else than expected": {`["a"]`, nil, false, "part: "},
		"a text that ends too early":   {`{"a":`, nil, false, "unexpected"},
	} {
		t.Run(name, func(t *testing.T) {
			r := NewReader([]byte("[" + tt.text + `,"next"]`))
			if name == "a text that ends too early" {
				r = NewReader([]byte("[" + tt.text))
			}
			var got map[string]int
			var next string
			items := 0
			err := r.List("list", func() (err error) {
				items++
				if items == 1 {
					err = r.Decode("part", 32, &got)
					var tooLarge *TooLargeError
					if errors.As(err, &tooLarge) != tt.tooLarge || err != nil && !strings.Contains(err.Error(), tt.err) {
						t.Errorf("%v, want %q, too large: %t", err, tt.err, tt.tooLarge)
					}
					if tt.tooLarge {
						return nil // the rest can be read
					}
					return err
				}
				next, err = r.Text("next", 32)
				return err
			})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
			if readOn := tt.err == "" || tt.tooLarge; readOn != (err == nil && next == "next" && r.End() == nil) {
				t.Errorf("the rest is read: %t (%q, %v)", !readOn, next, err)
			}
		})
	}
}

func TestDecodeToldNamesApartByTheirCase(t *testing.T) {
	var got struct {
		Name string `json:"name"`
	}
	if err := NewReader([]byte(`{"NAME":"other","name":"one"}`)).Decode("part", 100, &got); err != nil || got.Name != "one" {
		t.Errorf("%q, %v", got.Name, err)
	}
}

func TestPartReturnsTheTextOfAValue(t *testing.T) {
	const first, second = `{"name": "a", "rest": [1,2]}`, `{"name":"b"}`
	r := NewReader([]byte("[ " + first + " , " + second + "]"))
	var names, parts []string
	err := r.List("list", func() error {
		part, err := r.Part(func() error {
			return r.Members("item", func(key string) error {
				if key != "name" {
					return r.Skip()
				}
				name, err := r.Text("name", 10)
				names = append(names, name)
				return err
			})
		})
		parts = append(parts, string(part))
		return err
	})
	if err != nil || r.End() != nil || !cmp.Equal(names, []string{"a", "b"}) || !cmp.Equal(parts, []string{first, second}) {
		t.Errorf("%q of %q, %v", names, parts, err)
	}
}

func TestAListMayBeNullAndNothingElse(t *testing.T) {
	for text, want := range map[string]string{`null`: "", `[]`: "", `{}`: "list: want [, not {", `7`: "list: want [, not number", `[1`: "unexpected"} {
		r := NewReader([]byte(text))
		err := r.List("list", r.Skip)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestTextOfAString(t *testing.T) {
	for text, want := range map[string]struct{ text, err string }{
		`"a\u0062\n"`: {"ab\n", ""}, `null`: {"", ""}, `7`: {"", "name: want a string, not number"}, `"`: {"", "unexpected"},
		`"` + strings.Repeat("x", 50) + `"`: {"", "name: want at most 0 KiB"},
	} {
		got, err := NewReader([]byte(text)).Text("name", 32)
		if got != want.text || (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) {
			t.Errorf("%s: %q, %v; want %+v", text, got, err, want)
		}
	}
}
