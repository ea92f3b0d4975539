package offline

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"

	"github.com/gridlatch/gridlatch/forecast"
)

// maxFileSize bounds what is read of a file: a ConfigMap holds 1 MiB, and base64 and YAML add to
// that.
const maxFileSize = 16 << 20

// wantDocument says what a file must have.
const wantDocument = "want the JSON array of the exporter, or the manifest of its ConfigMap"

// File is a forecast in a file.
type File struct {
	// Name is the path; "-" is Stdin.
	Name  string
	Stdin io.Reader
	// Key is the key of the forecast, if the file is the manifest of a ConfigMap.
	Key string
}

// read reads the forecast: the exporter's array, or the ConfigMap that has it.
func (f File) read() (forecast.Document, error) {
	data, err := f.data()
	if err != nil {
		return forecast.Document{}, err
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(data, []byte("\ufeff")))
	var document forecast.Document
	switch {
	case len(text) == 0:
		err = errors.New("the file is empty: " + wantDocument)
	case text[0] == '[':
		document, err = forecast.Parse(data)
		err = locate(data, err)
	default:
		document, err = readManifest(text, f.Key)
	}
	if err != nil {
		return forecast.Document{}, fmt.Errorf("%s: %w", f.Name, err)
	}
	return document, nil
}

func (f File) data() ([]byte, error) {
	source := f.Stdin
	if f.Name != "-" {
		opened, err := os.Open(f.Name)
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		source = opened
	}
	data, err := io.ReadAll(io.LimitReader(source, maxFileSize+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name, err)
	}
	if len(data) > maxFileSize {
		return nil, fmt.Errorf("%s is larger than %d MiB", f.Name, maxFileSize>>20)
	}
	return data, nil
}

// locate adds where in the file the JSON is broken.
func locate(data []byte, err error) error {
	broken, ok := errors.AsType[*json.SyntaxError](err)
	if !ok {
		return err
	}
	before := data[:min(int(broken.Offset), len(data))]
	line := bytes.Count(before, []byte("\n")) + 1
	column := len(before) - bytes.LastIndexByte(before, '\n') - 1
	return fmt.Errorf("line %d, column %d: %w", line, max(column, 1), err)
}

// readManifest reads the first ConfigMap among the documents of a manifest.
func readManifest(text []byte, key string) (forecast.Document, error) {
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	otherKinds := ""
	for {
		var object corev1.ConfigMap
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			return forecast.Document{}, fmt.Errorf("the file has no ConfigMap%s: %s", otherKinds, wantDocument)
		}
		if err != nil {
			return forecast.Document{}, fmt.Errorf("%w: %s", err, wantDocument)
		}
		if object.Kind == "ConfigMap" {
			return forecast.FromConfigMap(object.BinaryData, object.Data, key, object.CreationTimestamp.Time)
		}
		if object.Kind != "" {
			otherKinds += ", but a " + object.Kind
		}
	}
}
