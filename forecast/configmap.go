package forecast

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// The keys of the ConfigMap that Gridlatch writes. The note and those from the source to the
// locations are Gridlatch's own, in data. The last four are in binaryData. All others are those of the
// carbon-intensity exporter, in data.
const (
	heartbeatKey     = "lastHeartbeatTime" // when the ConfigMap was written
	messageKey       = "message"
	noteKey          = "note"
	countKey         = "numOfRecords"
	firstKey         = "forecastDateTime" // when the first slot begins
	minKey, maxKey   = "minForecast", "maxForecast"
	sourceKey        = "source"
	kindKey          = "kind"
	attributionKey   = "attribution"
	detailsKey       = "locations" // the details of each location, in JSON
	actualsKey       = "actuals"   // see encodeActuals
	levelledKey      = "levelled"  // as actuals
	weatherKey       = "weather"   // see encodeWeather
	defaultSeriesKey = "data"
)

// FromConfigMap reads the ConfigMap of a carbon-intensity exporter, or the ConfigMap that
// [Document.ConfigMap] writes. The array (see [Parse]) is in binaryData[key] or, if that is missing,
// in data[key], either as plain text or in base64. written is when the object was created or last
// updated.
//
// Issued is written, or data["lastHeartbeatTime"] if that is readable and earlier. An exporter that
// gets no new forecast publishes the old one again and says why in data["message"]. If there is a
// message, Issued is not after the first slot. Gridlatch's own exporter says of each location when
// its forecast was issued: see [Document.IssuedAt].
//
// A document of Gridlatch's own exporter may have no forecast, but actual intensities only. If such
// a document has neither, its message is the error. A sentence that is too long is cut, and a location
// that breaks the rules is left out, as the message says.
func FromConfigMap(binaryData map[string][]byte, data map[string]string, key string, written time.Time) (Document, error) {
	details, err := decodeDetails(data[detailsKey])
	if err != nil {
		return Document{}, err
	}
	actuals, levelled, err := decodePast(binaryData)
	if err != nil {
		return Document{}, err
	}
	weather, err := decodeWeather(binaryData[weatherKey])
	if err != nil {
		return Document{}, fmt.Errorf("key %q: %w", weatherKey, err)
	}
	document, err := parseKey(binaryData, data, key, details != nil)
	if err != nil {
		return Document{}, err
	}
	message := strings.TrimSpace(data[messageKey])
	if details != nil {
		document.Weather, document.Levelled = weather, levelled
		document.Details, document.Actuals, document.Message, document.Note = details, actuals, message, strings.TrimSpace(data[noteKey])
		document = document.bounded()
	}
	if len(document.Series) == 0 && len(document.Actuals) == 0 {
		return Document{}, &EmptyError{Message: document.Message}
	}
	document.Issued = written.UTC()
	if heartbeat, err := ParseTime(data[heartbeatKey]); err == nil {
		document.Issued = earlier(document.Issued, heartbeat)
	}
	if details == nil && message != "" {
		for _, series := range document.Series {
			document.Issued = earlier(document.Issued, series.Start())
		}
	}
	return document, nil
}

// decodePast reads what is known of the past, and what a second source adds.
func decodePast(binaryData map[string][]byte) (actuals, levelled map[string]*Series, err error) {
	if actuals, err = decodeActuals(binaryData[actualsKey]); err != nil {
		return nil, nil, fmt.Errorf("key %q: %w", actualsKey, err)
	}
	if levelled, err = decodeActuals(binaryData[levelledKey]); err != nil {
		return nil, nil, fmt.Errorf("key %q: %w", levelledKey, err)
	}
	return actuals, levelled, nil
}

// EmptyError says that a ConfigMap of Gridlatch's own exporter has neither a forecast nor actual
// intensities.
type EmptyError struct {
	// Message is what the exporter says of the reason; "" if it says nothing.
	Message string
}

// Error returns the message of the exporter.
func (e *EmptyError) Error() string {
	return cmp.Or(e.Message, "there is neither a forecast nor an actual intensity yet")
}

// parseKey reads the array. If the array is missing and may be, the document is empty.
func parseKey(binaryData map[string][]byte, data map[string]string, key string, mayBeMissing bool) (Document, error) {
	raw, ok := binaryData[key]
	if plain, found := data[key]; found && !ok {
		raw, ok = decode(plain), true
	}
	if !ok && mayBeMissing {
		return Document{}, nil
	}
	if !ok {
		return Document{}, fmt.Errorf("key %q is missing, there are: %s", key, keyNames(binaryData, data))
	}
	document, err := Parse(raw)
	if err != nil {
		return Document{}, fmt.Errorf("key %q: %w", key, err)
	}
	return document, nil
}

// decodeDetails returns nil if there are no details: somebody else has written the ConfigMap.
func decodeDetails(text string) (map[string]Details, error) {
	if text == "" {
		return nil, nil
	}
	var details map[string]Details
	if err := json.Unmarshal([]byte(text), &details); err != nil {
		return nil, fmt.Errorf("key %q: %w", detailsKey, err)
	}
	if details == nil {
		details = map[string]Details{}
	}
	if len(details) > maxLocations {
		return nil, fmt.Errorf("key %q: %d locations: want at most %d", detailsKey, len(details), maxLocations)
	}
	return details, nil
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
