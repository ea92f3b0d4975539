package screen

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"

	yaml3 "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"
)

// JSON prints a value for programs. Nothing is lost: characters of strings that are not printable
// are escaped.
func (s *Screen) JSON(value any) error {
	data, err := marshal(value)
	if err != nil {
		return err
	}
	s.write(escape(data, true))
	return nil
}

// YAML prints a value for programs. Nothing is lost: strings with characters that are not printable
// are quoted and escaped.
func (s *Screen) YAML(value any) error {
	const asPairs = false // YAML has no surrogates
	data, err := marshal(value)
	if err != nil {
		return err
	}
	var root yaml3.Node
	if err := yaml3.Unmarshal(escape(data, asPairs), &root); err != nil {
		return fmt.Errorf("read JSON as YAML: %w", err)
	}
	restyle(&root)
	var out bytes.Buffer
	encoder := yaml3.NewEncoder(&out)
	encoder.SetIndent(2)
	encoder.CompactSeqIndent()
	if err := encoder.Encode(&root); err != nil {
		return fmt.Errorf("write YAML: %w", err)
	}
	s.write(escape(out.Bytes(), asPairs))
	return nil
}

// Log returns a writer for a handler that logs JSON. Administrators look at these lines, too.
func Log(out io.Writer) io.Writer {
	return writerFunc(func(line []byte) (int, error) {
		if _, err := out.Write(escape(line, true)); err != nil {
			return 0, err
		}
		return len(line), nil
	})
}

func marshal(value any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return out.Bytes(), nil
}

// escape escapes characters that are not printable; only quoted strings have such characters.
// Characters above U+FFFF become a pair of surrogates, or are escaped as in YAML.
func escape(data []byte, asPairs bool) []byte {
	var out bytes.Buffer
	for _, r := range string(data) {
		switch high, low := utf16.EncodeRune(r); {
		case r == '\n' || unicode.IsPrint(r):
			out.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&out, `\u%04x`, r)
		case asPairs:
			fmt.Fprintf(&out, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&out, `\U%08x`, r)
		}
	}
	return out.Bytes()
}

// restyle turns JSON into YAML as people write it: in blocks, and with plain strings where each
// reader of YAML reads them as strings. Other strings stay quoted.
func restyle(node *yaml3.Node) {
	if node.Kind != yaml3.ScalarNode || isPlain(node.Value) {
		node.Style = 0
	}
	for _, child := range node.Content {
		restyle(child)
	}
}

// isPlain reports whether a text can be written without quotes.
func isPlain(text string) bool {
	for _, r := range text {
		if !unicode.IsPrint(r) {
			return false
		}
	}
	written, err := yaml.Marshal(text)
	return err == nil && string(written) == text+"\n"
}
