package accounts

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gridlatch/gridlatch/feed/history"
	"github.com/gridlatch/gridlatch/forecast"
	"github.com/gridlatch/gridlatch/ledger/pages"
)

// maxDumpSize bounds what is read of a file: 400 pages, most of which are small.
const maxDumpSize = 128 << 20

// wantDump says what a file must have.
const wantDump = "want the ConfigMaps of Gridlatch's namespace, as `kubectl get configmaps -o yaml` writes them"

// ReadFile reads what a question needs of a ledger from a file with ConfigMaps; "-" is stdin.
func ReadFile(name string, stdin io.Reader, q Question) (*Ledger, error) {
	data, err := readAll(name, stdin)
	if err != nil {
		return nil, err
	}
	objects, err := decodeDump(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, wantDump)
	}
	l, byName, listed, home := NewLedger(), map[string]*corev1.ConfigMap{}, []pages.Listed(nil), ""
	for i := range objects {
		c := &objects[i]
		switch {
		case c.Labels[pages.Label] != "" && len(listed) > 0 && c.Namespace != home:
			return nil, fmt.Errorf("%s: namespaces %q and %q have pages of a ledger: %s", name, home, c.Namespace, wantDump)
		case c.Labels[pages.Label] != "":
			home = c.Namespace
			page := strings.TrimPrefix(c.Name, pages.ConfigMapName(""))
			byName[page] = c
			listed = append(listed, pages.Listed{Name: page, Days: strings.Split(c.Annotations[pages.DaysAnnotation], ",")})
		case c.Labels[history.SourceLabel] != "":
			l.AddOrigin(c)
		}
	}
	if len(listed) == 0 {
		return nil, fmt.Errorf("%s: no ConfigMap has a page of the ledger: %s", name, wantDump)
	}
	for _, page := range Select(q, listed) {
		l.AddPage(page, byName[page], q.Now)
	}
	l.findForecasts(objects, q.Now)
	return l, nil
}

// findForecasts reads the forecasts that the groups need, as far as the file has them.
func (l *Ledger) findForecasts(objects []corev1.ConfigMap, now time.Time) {
	byName := map[string]*corev1.ConfigMap{}
	for i := range objects {
		byName[objects[i].Namespace+"/"+objects[i].Name] = &objects[i]
	}
	for _, open := range l.OpenSources() {
		text, source := open.Source, forecast.ParseSource(open.Source)
		c := byName[source.Namespace+"/"+source.Name]
		if c == nil {
			l.MissForecast(text, errors.New("the file does not have this ConfigMap"))
			continue
		}
		document, err := forecast.FromConfigMap(c.BinaryData, c.Data, source.Key, history.LastWritten(c, now))
		if err == nil {
			err = l.AddForecast(text, document, now)
		}
		if err != nil {
			l.MissForecast(text, err)
		}
	}
}

func readAll(name string, stdin io.Reader) ([]byte, error) {
	from := stdin
	if name != "-" {
		opened, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		from = opened
	}
	data, err := io.ReadAll(io.LimitReader(from, maxDumpSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if len(data) > maxDumpSize {
		return nil, fmt.Errorf("%s is larger than %d MiB", name, maxDumpSize>>20)
	}
	return data, nil
}

// item is an object, or a list of objects.
type item struct {
	Kind  string            `json:"kind"`
	Items []json.RawMessage `json:"items"`
}

// decodeDump returns the ConfigMaps among the documents of a file, and in their lists.
func decodeDump(data []byte) ([]corev1.ConfigMap, error) {
	var all []corev1.ConfigMap
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(bytes.TrimPrefix(data, []byte("\ufeff"))), 4096)
	for {
		var raw json.RawMessage
		err := decoder.Decode(&raw)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		documents := []json.RawMessage{raw}
		var list item
		if err := json.Unmarshal(raw, &list); err == nil && strings.HasSuffix(list.Kind, "List") {
			documents = list.Items
		}
		for _, document := range documents {
			if c := configMapOf(document); c != nil {
				all = append(all, *c)
			}
		}
	}
}

// configMapOf returns nil if an object is none.
func configMapOf(raw json.RawMessage) *corev1.ConfigMap {
	var c corev1.ConfigMap
	if err := json.Unmarshal(raw, &c); err != nil || c.Kind != "" && c.Kind != "ConfigMap" {
		return nil
	}
	return &c
}
