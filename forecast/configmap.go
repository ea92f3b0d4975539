package forecast

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// FromConfigMap reads the ConfigMap of a carbon-intensity exporter. The array (see [Parse]) is in
// binaryData[key] or, if that is missing, in data[key], either as plain text or in base64. written
// is when the object was created or last updated.
//
// Issued is written, or data["lastHeartbeatTime"] if that is readable and earlier. An exporter that
// gets no new forecast publishes the old one again and says why in data["message"]. If there is a
// message, Issued is not after the first slot.
func FromConfigMap(binaryData map[string][]byte, data map[string]string, key string, written time.Time) (Document, error) {
	raw, ok := binaryData[key]
	if plain, found := data[key]; found && !ok {
		raw, ok = decode(plain), true
	}
	if !ok {
		return Document{}, fmt.Errorf("key %q is missing, there are: %s", key, keyNames(binaryData, data))
	}
	document, err := Parse(raw)
	if err != nil {
		return Document{}, fmt.Errorf("key %q: %w", key, err)
	}
	document.Issued = written.UTC()
	if heartbeat, err := ParseTime(data["lastHeartbeatTime"]); err == nil {
		document.Issued = earlier(document.Issued, heartbeat)
	}
	if strings.TrimSpace(data["message"]) != "" {
		for _, series := range document.Series {
			document.Issued = earlier(document.Issued, series.Start())
		}
	}
	return document, nil
}

// decode returns what the text encodes in base64. It returns the text itself if that is not base64
// or if it is valid JSON; null is both.
func decode(text string) []byte {
	decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || json.Valid([]byte(text)) {
		return []byte(text)
	}
	return decoded
}

// keyNames lists the keys of both maps, the first ten at most.
func keyNames(binaryData map[string][]byte, data map[string]string) string {
	const maxKeys = 10
	keys := slices.Sorted(maps.Keys(binaryData))
	keys = append(keys, slices.Sorted(maps.Keys(data))...)
	if len(keys) == 0 {
		return "none"
	}
	if len(keys) > maxKeys {
		return fmt.Sprintf("%q and %d more", keys[:maxKeys], len(keys)-maxKeys)
	}
	return fmt.Sprintf("%q", keys)
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
