// Package pages keeps the pages of the ledger in ConfigMaps of Gridlatch's namespace, one ConfigMap
// for each day, and one for each month that is over for long. The package links no controller
// manager, so that a command can read the pages.
//
// A ConfigMap is only written as it was read: another leader may have written meanwhile.
package pages

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/gridlatch/gridlatch/api/v1alpha1"
	"github.com/gridlatch/gridlatch/ledger"
)

const (
	// Label is the label of a ConfigMap with a page: "day" or "month".
	Label      = v1alpha1.Prefix + "ledger"
	labelDay   = "day"
	labelMonth = "month"
	// OpenLabel is the label of a page some groups of which are not settled. Its value is "true".
	OpenLabel = v1alpha1.Prefix + "ledger-open"
	// UntilAnnotation is the instant up to which all groups that had ended are booked (RFC 3339).
	UntilAnnotation = v1alpha1.Prefix + "booked-until"
	// DaysAnnotation names, separated by commas, the days that the page of a month has.
	DaysAnnotation = v1alpha1.Prefix + "ledger-days"
	// DataKey is the key of the page in the binary data of its ConfigMap.
	DataKey = "page"
	// OpenKey is the key of what is known of the groups that have not ended, beside the newest
	// page.
	OpenKey = "open"

	prefix = "gridlatch-ledger-"
)

// ConfigMapName returns the name of the ConfigMap with a page.
func ConfigMapName(page string) string { return prefix + page }

// nameOf returns the name of the page that a ConfigMap has; false if the ConfigMap has none.
func nameOf(configMap string) (string, bool) {
	name, isPage := strings.CutPrefix(configMap, prefix)
	return name, isPage && (isDay(name) || isMonth(name))
}

func isDay(name string) bool { return hasLayout(name, time.DateOnly) }

func isMonth(name string) bool { return hasLayout(name, "2006-01") }

func hasLayout(name, layout string) bool {
	_, err := time.Parse(layout, name)
	return err == nil
}

// Entry is a page and what else its ConfigMap has.
type Entry struct {
	Page *ledger.Page
	// Open is what Store keeps beside the newest page, as its writer has encoded it. It may be
	// empty.
	Open []byte
	// BookedUntil is the instant up to which everything that had ended was booked; zero if nobody
	// says.
	BookedUntil time.Time
	// Days are the days that the page of a month has, sorted.
	Days []string

	read *corev1.ConfigMap // what was read or written last; nil if there is none
	// isDamaged says that what was read has no page that can be read, and that nobody has set it aside.
	isDamaged bool
}

// NewEntry returns an empty page that is in no ConfigMap yet.
func NewEntry(name string) *Entry { return &Entry{Page: ledger.NewPage(name)} }

// IsStored reports whether there is a ConfigMap.
func (e *Entry) IsStored() bool { return e.read != nil }

// Store reads and writes pages. Who only reads needs no Writer.
type Store struct {
	// Reader reads from the API server, not from a cache.
	Reader client.Reader
	Writer client.Writer
	// Namespace is the namespace of Gridlatch.
	Namespace string
}

// Listed is what a list says of a page.
type Listed struct {
	Name string
	// IsOpen says that some groups of the page are not settled.
	IsOpen bool
	// Days are the days that the page of a month has.
	Days []string
}

// List returns the pages there are, sorted by name, without reading them.
func (s Store) List(ctx context.Context) ([]Listed, error) {
	found := &metav1.PartialObjectMetadataList{}
	found.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMapList"))
	if err := s.Reader.List(ctx, found, client.InNamespace(s.Namespace), client.HasLabels{Label}); err != nil {
		return nil, fmt.Errorf("list the pages of the ledger: %w", err)
	}
	var all []Listed
	for i := range found.Items {
		c := &found.Items[i]
		if name, ok := nameOf(c.Name); ok {
			all = append(all, Listed{Name: name, IsOpen: c.Labels[OpenLabel] == "true", Days: splitDays(c.Annotations[DaysAnnotation])})
		}
	}
	slices.SortFunc(all, func(a, b Listed) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// Read reads a page. Without its ConfigMap, the page is empty. The error ErrDamaged comes with an
// empty page that takes the place of what cannot be read.
func (s Store) Read(ctx context.Context, name string) (*Entry, error) {
	c := &corev1.ConfigMap{}
	err := s.Reader.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: ConfigMapName(name)}, c)
	switch {
	case apierrors.IsNotFound(err):
		return NewEntry(name), nil
	case err != nil:
		return nil, fmt.Errorf("read page %s of the ledger: %w", name, err)
	}
	return entryOf(name, c)
}

// ErrDamaged says that a ConfigMap has no page that can be read.
var ErrDamaged = errors.New("the page is damaged")

// entryOf returns what a ConfigMap has.
func entryOf(name string, c *corev1.ConfigMap) (*Entry, error) {
	e := &Entry{read: c, Open: c.BinaryData[OpenKey], Days: splitDays(c.Annotations[DaysAnnotation])}
	if until, err := time.Parse(time.RFC3339, c.Annotations[UntilAnnotation]); err == nil {
		e.BookedUntil = until
	}
	page, err := ledger.Decode(c.BinaryData[DataKey])
	if err == nil && page.Name() != name {
		err = fmt.Errorf("it is page %.20q", page.Name())
	}
	if err != nil {
		e.Page, e.isDamaged = ledger.NewPage(name), true
		return e, fmt.Errorf("page %s of the ledger: %w: %w", name, ErrDamaged, err)
	}
	e.Page = page
	return e, nil
}

// Write writes a page, and reports whether there was a change to write. It fails with a conflict if
// somebody else has written the ConfigMap since it was read.
func (s Store) Write(ctx context.Context, e *Entry, actuals ledger.Actuals) (bool, error) {
	wanted, err := s.configMap(e, actuals)
	if err != nil {
		return false, err
	}
	switch {
	case e.read == nil:
		err = s.Writer.Create(ctx, wanted)
	case isWritten(e.read, wanted):
		return false, nil
	default:
		if err := s.setAside(ctx, e); err != nil {
			return false, err
		}
		wanted.UID, wanted.ResourceVersion = e.read.UID, e.read.ResourceVersion
		err = s.Writer.Update(ctx, wanted)
	}
	if err != nil {
		return false, fmt.Errorf("write page %s of the ledger: %w", e.Page.Name(), err)
	}
	e.read = wanted
	return true, nil
}

// AsideLabel is the label of a ConfigMap with a page that could not be read: because somebody has
// changed it, or because a newer program has written it. Its value is the name of the page.
const AsideLabel = v1alpha1.Prefix + "ledger-set-aside"

// setAside copies a page that cannot be read before another page takes its place. The same page is
// copied once.
func (s Store) setAside(ctx context.Context, e *Entry) error {
	if !e.isDamaged {
		return nil
	}
	digest := fnv.New32a()
	_, _ = digest.Write(e.read.BinaryData[DataKey]) // it never fails
	aside := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace, Name: fmt.Sprintf("%s-set-aside-%08x", e.read.Name, digest.Sum32()), Annotations: e.read.Annotations,
			Labels: map[string]string{"app.kubernetes.io/name": "gridlatch", AsideLabel: e.Page.Name()},
		},
		BinaryData: e.read.BinaryData, Data: e.read.Data,
	}
	if err := s.Writer.Create(ctx, aside); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("set aside what page %s of the ledger has: %w", e.Page.Name(), err)
	}
	e.isDamaged = false
	return nil
}

// configMap returns the ConfigMap that a page should have.
func (s Store) configMap(e *Entry, actuals ledger.Actuals) (*corev1.ConfigMap, error) {
	encoded, err := e.Page.Encode(actuals)
	if err != nil {
		return nil, fmt.Errorf("encode page %s of the ledger: %w", e.Page.Name(), err)
	}
	c := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: s.Namespace, Name: ConfigMapName(e.Page.Name()), Annotations: map[string]string{},
			Labels: map[string]string{"app.kubernetes.io/name": "gridlatch", Label: labelDay},
		},
		BinaryData: map[string][]byte{DataKey: encoded},
	}
	if isMonth(e.Page.Name()) {
		c.Labels[Label] = labelMonth
		c.Annotations[DaysAnnotation] = strings.Join(e.Days, ",")
	}
	if !e.Page.IsSettled() {
		c.Labels[OpenLabel] = "true"
	}
	if !e.BookedUntil.IsZero() {
		c.Annotations[UntilAnnotation] = e.BookedUntil.UTC().Format(time.RFC3339)
	}
	if len(e.Open) > 0 {
		c.BinaryData[OpenKey] = e.Open
	}
	return c, nil
}

// isWritten reports whether a ConfigMap says what is wanted. The watermark alone is not worth a
// write.
func isWritten(existing, wanted *corev1.ConfigMap) bool {
	return maps.EqualFunc(existing.BinaryData, wanted.BinaryData, bytes.Equal) &&
		existing.Labels[Label] == wanted.Labels[Label] && existing.Labels[OpenLabel] == wanted.Labels[OpenLabel] && existing.Annotations[DaysAnnotation] == wanted.Annotations[DaysAnnotation]
}

// Delete deletes a page as it was read.
func (s Store) Delete(ctx context.Context, e *Entry) error {
	if e.read == nil {
		return nil
	}
	asRead := client.Preconditions{UID: &e.read.UID, ResourceVersion: &e.read.ResourceVersion}
	if err := s.Writer.Delete(ctx, e.read, asRead); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete page %s of the ledger: %w", e.Page.Name(), err)
	}
	e.read = nil
	return nil
}

func splitDays(text string) []string {
	if text == "" {
		return nil
	}
	days := strings.Split(text, ",")
	slices.Sort(days)
	return slices.Compact(slices.DeleteFunc(days, func(day string) bool { return !isDay(day) }))
}
