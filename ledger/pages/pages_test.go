package pages

import (
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/gridlatch/gridlatch/ledger"
)

var t0 = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

const home = "gridlatch-system"

func newStore(objects ...client.Object) Store {
	api := fake.NewClientBuilder().WithObjects(objects...).Build()
	return Store{Reader: api, Writer: api, Namespace: home}
}

// write writes a page with one group for each UID, and the days of a month.
func write(t *testing.T, s Store, name string, ended time.Time, days []string, uids ...string) *Entry {
	t.Helper()
	e, err := s.Read(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	for _, uid := range uids {
		e.Page.Book(ledger.Group{UID: uid, Arrived: ended.Add(-time.Hour), Released: ended.Add(-time.Hour), Ended: ended})
	}
	e.Days = days
	if _, err := s.Write(t.Context(), e, nil); err != nil {
		t.Fatal(err)
	}
	return e
}

func TestAPageComesBackAsItWasWritten(t *testing.T) {
	s := newStore()
	e := write(t, s, "2026-11-21", t0, nil, "a")
	e.Open, e.BookedUntil = []byte("open"), t0.Add(-48*time.Hour)
	if written, err := s.Write(t.Context(), e, nil); err != nil || !written {
		t.Fatalf("written: %v, %v", written, err)
	}
	e.BookedUntil = t0 // alone is not worth a write
	if written, err := s.Write(t.Context(), e, nil); err != nil || written {
		t.Errorf("written again: %v, %v", written, err)
	}
	got, err := s.Read(t.Context(), "2026-11-21")
	if err != nil || !got.Page.Has("a") || string(got.Open) != "open" || !got.BookedUntil.Equal(t0.Add(-48*time.Hour)) || !got.IsStored() {
		t.Errorf("read %+v, %v", got, err)
	}
	listed, err := s.List(t.Context())
	if err != nil || len(listed) != 1 || listed[0].Name != "2026-11-21" || !listed[0].IsOpen {
		t.Errorf("listed %+v, %v", listed, err)
	}
}

func TestOfTwoWritersTheSecondFails(t *testing.T) {
	s := newStore()
	first, second := NewEntry("2026-11-21"), NewEntry("2026-11-21")
	if _, err := s.Write(t.Context(), first, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(t.Context(), second, nil); !apierrors.IsAlreadyExists(err) {
		t.Errorf("a page that exists was created: %v", err)
	}
	second, err := s.Read(t.Context(), "2026-11-21")
	if err != nil {
		t.Fatal(err)
	}
	first.Open, second.Open = []byte("1"), []byte("2")
	if _, err := s.Write(t.Context(), first, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(t.Context(), second, nil); !apierrors.IsConflict(err) {
		t.Errorf("a page was overwritten: %v", err)
	}
	if err := s.Delete(t.Context(), second); err == nil {
		t.Error("a page was deleted that somebody else had written")
	}
	if err := s.Delete(t.Context(), first); err != nil || first.IsStored() {
		t.Errorf("deleted: %v, %v", first.IsStored(), err)
	}
}

func TestADayOfAMonthDoesNotCountTwice(t *testing.T) {
	s := newStore()
	write(t, s, "2026-10-30", t0.AddDate(0, 0, -22), nil, "older")
	write(t, s, "2026-11-20", t0.AddDate(0, 0, -1), nil, "a")
	write(t, s, "2026-11-21", t0, nil, "b")
	write(t, s, "2026-11", t0, []string{"2026-11-20"}, "c")
	all, err := Read(t.Context(), s, time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, page := range all {
		names = append(names, page.Name())
	}
	if len(names) != 2 || names[0] != "2026-11" || names[1] != "2026-11-21" {
		t.Errorf("read the pages %v", names)
	}
}

func TestADamagedPageHidesNoOther(t *testing.T) {
	damaged := func(name string, data []byte) *corev1.ConfigMap {
		return &corev1.ConfigMap{
			ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: name, Labels: map[string]string{Label: labelDay}},
			BinaryData: map[string][]byte{DataKey: data},
		}
	}
	s := newStore(damaged(ConfigMapName("2026-11-19"), []byte("x")), damaged(ConfigMapName("2026-11-20"), nil),
		damaged("gridlatch-ledger-x", nil), damaged("other", nil))
	write(t, s, "2026-11-21", t0, nil, "a")
	all, err := Read(t.Context(), s, t0.AddDate(0, 0, -9), t0.AddDate(0, 0, 1))
	if len(all) != 1 || !errors.Is(err, ErrDamaged) {
		t.Errorf("%d pages, %v", len(all), err)
	}
}

func TestADamagedPageIsSetAsideBeforeItIsReplaced(t *testing.T) {
	name := ConfigMapName("2026-11-21")
	s := newStore(&corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: home, Name: name, Labels: map[string]string{Label: labelDay}},
		BinaryData: map[string][]byte{DataKey: []byte("of a newer program"), OpenKey: []byte("open")},
	})
	e, err := s.Read(t.Context(), "2026-11-21")
	if !errors.Is(err, ErrDamaged) {
		t.Fatal(err)
	}
	e.Page.Book(ledger.Group{UID: "a", Ended: t0})
	for range 2 { // the second time, there is nothing to set aside
		if _, err := s.Write(t.Context(), e, nil); err != nil {
			t.Fatal(err)
		}
		e.Page.Book(ledger.Group{UID: "b", Ended: t0})
	}
	var aside corev1.ConfigMapList
	if err := s.Reader.List(t.Context(), &aside, client.HasLabels{AsideLabel}); err != nil {
		t.Fatal(err)
	}
	if len(aside.Items) != 1 || string(aside.Items[0].BinaryData[DataKey]) != "of a newer program" || !strings.HasPrefix(aside.Items[0].Name, name+"-set-aside-") {
		t.Errorf("set aside: %v", aside.Items)
	}
	if listed, err := s.List(t.Context()); err != nil || len(listed) != 1 {
		t.Errorf("%v pages, %v: what was set aside is no page", listed, err)
	}
}

func TestALabelThatSomebodyHasTakenOffComesBack(t *testing.T) {
	s := newStore()
	e := write(t, s, "2026-11-21", t0, nil, "a")
	delete(e.read.Labels, Label)
	if err := s.Writer.Update(t.Context(), e.read); err != nil {
		t.Fatal(err)
	}
	if written, err := s.Write(t.Context(), e, nil); !written || err != nil {
		t.Errorf("written: %v, %v", written, err)
	}
	if listed, err := s.List(t.Context()); err != nil || len(listed) != 1 {
		t.Errorf("%v pages, %v", listed, err)
	}
}
