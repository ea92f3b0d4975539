package forecast

import "strings"

// Source names what publishes forecasts: one key of one ConfigMap.
type Source struct {
	Namespace string
	Name      string // the name of the ConfigMap
	Key       string // the key of its data that has the document
}

// String returns the source as namespace/name/key, for people and for digests.
func (s Source) String() string {
	return strings.Join([]string{s.Namespace, s.Name, s.Key}, "/")
}

// ParseSource reads what [Source.String] writes. Text of any other form gives the zero Source.
func ParseSource(text string) Source {
	parts := strings.Split(text, "/")
	if len(parts) != 3 {
		return Source{}
	}
	return Source{Namespace: parts[0], Name: parts[1], Key: parts[2]}
}
