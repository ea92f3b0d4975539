package ledger

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"
)

const (
	// MaxPageBytes bounds an encoded page: a ConfigMap has at most a MiB, and two keys.
	MaxPageBytes = 700 << 10
	// maxPlainBytes bounds a page before compression, and maxElements what a list in it has.
	maxPlainBytes = 16 << 20
	maxElements   = 100_000
	// maxMerged bounds the pages that are merged into another.
	maxMerged = 400
	// monthLayout is the name of the page of a month.
	monthLayout = "2006-01"
	// pageVersion is the version of the encoding.
	pageVersion = 1
)

// pageFile is the encoding of a page.
type pageFile struct {
	Version   int              `json:"version"`
	Name      string           `json:"name"`
	Merged    []string         `json:"merged,omitempty"`
	Sums      list[Sum]        `json:"sums,omitempty"`
	Groups    *columns         `json:"groups,omitempty"`
	Uncounted *columns         `json:"uncounted,omitempty"`
	Settled   map[int64][]byte `json:"settled,omitempty"`
}

// list is an array with a bounded number of elements.
type list[T any] []T

// UnmarshalJSON decodes an array. It counts the elements first: a small text may have millions of
// them.
func (l *list[T]) UnmarshalJSON(data []byte) error {
	var elements []json.RawMessage
	if err := json.Unmarshal(data, &elements); err != nil {
		return err
	}
	if len(elements) > maxElements {
		return fmt.Errorf("%d elements: want at most %d", len(elements), maxElements)
	}
	*l = make(list[T], len(elements))
	for i, element := range elements {
		if err := json.Unmarshal(element, &(*l)[i]); err != nil {
			return err
		}
	}
	return nil
}

// Encode returns the page in JSON, compressed by gzip, in at most MaxPageBytes. Equal pages give
// equal bytes.
//
// A page that is too large is made smaller. First the encoding leaves out the settled groups that
// Count has not returned. Then the page settles its oldest groups: later revisions of the
// intensities do not count for them. If all are settled, the page forgets which groups were
// settled, from the oldest hour on, and at last the owners of the work with the least energy.
func (p *Page) Encode(actuals Actuals) ([]byte, error) {
	for _, e := range p.open {
		e.accountBy(actuals)
	}
	uncounted := p.uncounted
	for {
		encoded, plainBytes, err := p.encode(uncounted)
		if err != nil {
			return nil, fmt.Errorf("encode page %.40q: %w", p.name, err)
		}
		size := max(float64(len(encoded))/MaxPageBytes, float64(plainBytes)/maxPlainBytes, float64(len(p.open))/maxElements, float64(len(uncounted))/maxElements)
		if size <= 1 {
			return encoded, nil
		}
		if len(uncounted) > 0 {
			uncounted = nil
			continue
		}
		if !p.shrink(1/size, actuals) {
			return nil, fmt.Errorf("page %.40q has %d bytes, want at most %d", p.name, len(encoded), MaxPageBytes)
		}
	}
}

// shrink makes the page smaller, about to a share of its size. It returns false if nothing is left
// to be dropped.
func (p *Page) shrink(share float64, actuals Actuals) bool {
	const spared = 0.9 // of the share, so that one call is enough most often
	switch groups := p.inOrder(); {
	case len(groups) > 0:
		p.settle(groups[:len(groups)-int(float64(len(groups))*share*spared)], actuals)
	case len(p.settled) > 0:
		p.settled.forgetOldest()
	case len(p.sums) > 8: // all that fold leaves
		p.sums.fold(max(0, len(p.sums)/2-8))
	default:
		return false
	}
	return true
}

// encode returns the page as it is, with some settled groups for Count, and the size before
// compression.
func (p *Page) encode(uncounted []*entry) (encoded []byte, plainBytes int, err error) {
	file := pageFile{Version: pageVersion, Name: p.name, Merged: slices.Sorted(maps.Keys(p.merged)), Sums: p.sums.sorted(), Settled: p.settled.encode()}
	if len(p.open) > 0 {
		file.Groups = encodeGroups(p.inOrder(), p.start())
	}
	if len(uncounted) > 0 {
		file.Uncounted = encodeGroups(uncounted, p.start())
	}
	plain, err := json.Marshal(file)
	if err != nil {
		return nil, 0, err
	}
	var compressed bytes.Buffer
	z := gzip.NewWriter(&compressed)
	if _, err := z.Write(plain); err != nil {
		return nil, 0, err
	}
	if err := z.Close(); err != nil {
		return nil, 0, err
	}
	return compressed.Bytes(), len(plain), nil
}

// ErrNewerPage says that a later version of the program has written a page.
var ErrNewerPage = errors.New("the page is of a newer program")

// Decode reads what Encode has written. It puts numbers right that cannot be true.
func Decode(encoded []byte) (*Page, error) {
	file, err := decodeFile(encoded)
	if err != nil {
		return nil, err
	}
	p := NewPage(file.Name)
	if p.settled, err = decodeDigests(file.Settled); err != nil {
		return nil, err
	}
	for _, name := range file.Merged[:min(len(file.Merged), maxMerged)] {
		if isPageName(name) {
			p.merged[name] = true
		}
	}
	for _, s := range file.Sums {
		p.sums.merge(s.clean())
	}
	groups, err := file.Groups.decode(p.start())
	if err != nil {
		return nil, fmt.Errorf("groups: %w", err)
	}
	for _, e := range groups {
		if e.group.UID != "" && !p.Has(e.group.UID) {
			p.open[e.group.UID] = e
		}
	}
	if p.uncounted, err = file.Uncounted.decode(p.start()); err != nil {
		return nil, fmt.Errorf("uncounted: %w", err)
	}
	return p, nil
}

// decodeFile reads and checks the encoding.
func decodeFile(encoded []byte) (pageFile, error) {
	z, err := gzip.NewReader(bytes.NewReader(encoded))
	if err != nil {
		return pageFile{}, fmt.Errorf("page is not compressed: %w", err)
	}
	plain, err := io.ReadAll(io.LimitReader(z, maxPlainBytes+1))
	if err != nil {
		return pageFile{}, fmt.Errorf("page is cut off or damaged: %w", err)
	}
	if len(plain) > maxPlainBytes {
		return pageFile{}, fmt.Errorf("page has more than %d bytes", maxPlainBytes)
	}
	var file pageFile
	if err := json.Unmarshal(plain, &file); err != nil {
		return pageFile{}, fmt.Errorf("page is broken: %w", err)
	}
	switch {
	case file.Version > pageVersion:
		return pageFile{}, fmt.Errorf("page is of version %d, want %d: %w", file.Version, pageVersion, ErrNewerPage)
	case file.Version != pageVersion:
		return pageFile{}, fmt.Errorf("page is of version %d, want %d", file.Version, pageVersion)
	case !isPageName(file.Name):
		return pageFile{}, fmt.Errorf("page: name: %.40q: want a day (2006-01-02) or a month (2006-01)", file.Name)
	}
	return file, nil
}

// start returns when the day or the month begins.
func (p *Page) start() time.Time {
	if day, err := time.Parse(time.DateOnly, p.name); err == nil {
		return bounded(day)
	}
	month, _ := time.Parse(monthLayout, p.name) // the zero time if it is none
	return bounded(month)
}

// isPageName reports whether a name is a day or a month.
func isPageName(name string) bool {
	_, notDay := time.Parse(time.DateOnly, name)
	_, notMonth := time.Parse(monthLayout, name)
	return notDay == nil || notMonth == nil
}
