package provider

import (
	"context"
	"errors"
	"time"

	"github.com/gridlatch/gridlatch/forecast"
)

// Provider knows the intensity of the zones of a grid. A provider is safe for concurrent use, and
// all zones share its rate limit.
type Provider interface {
	// Describe tells what the provider gives. It asks nobody.
	Describe() Description
	// Forecast returns the forecast of a zone as it stands now. It may begin in the past. A forecast
	// without any value that can be true is [ErrNoData].
	Forecast(ctx context.Context, zone string) (Reading, error)
	// Past returns the intensity of a zone as it was, in [from, to), of at most 366 days before to. A
	// long past comes in several responses, the newest first. A provider that gives only the newer
	// part returns that part: [Reading.From] says where the part begins, and [Reading.Incomplete]
	// why. Past(ctx, zone, from, reading.From) goes on from there. The slot in which to is ends at
	// to. Its intensity may change until the slot is over.
	Past(ctx context.Context, zone string, from, to time.Time) (Reading, error)
}

// ZoneFinder is a [Provider] that can tell the zone of a place.
type ZoneFinder interface {
	Provider
	// Zone returns the zone of a latitude and a longitude in degrees.
	Zone(ctx context.Context, latitude, longitude float64) (string, error)
}

// Type names a provider, as a CarbonPolicy does.
type Type string

// The providers.
const (
	TypeElectricityMaps   Type = "ElectricityMaps"
	TypeWattTime          Type = "WattTime"
	TypeUKCarbonIntensity Type = "UKCarbonIntensity"
	TypeEnergyCharts      Type = "EnergyCharts"
	TypeEnerginet         Type = "Energinet"
	TypeGridCarbon        Type = "GridCarbon"
	TypeCarbonAwareSDK    Type = "CarbonAwareSDK"
	TypeHTTP              Type = "HTTP"
	TypeMock              Type = "Mock"
)

// Availability tells whether a provider has something.
type Availability string

// The availabilities.
const (
	Available Availability = "Available"
	// DependsOnPlan stands for what some customers may ask for. [ErrNotInPlan] tells the others.
	DependsOnPlan Availability = "DependsOnPlan"
	Unavailable   Availability = "Unavailable"
)

// Limit is how often a provider may be asked.
type Limit struct {
	Requests int
	Per      time.Duration
	// IsDocumented reports whether the provider states the limit. Otherwise the limit is our own.
	IsDocumented bool
}

// Description tells what a provider is, and what it gives.
type Description struct {
	Type Type
	// Source names the provider to people.
	Source string
	// Attribution is the sentence that the provider's licence demands wherever its data is shown; ""
	// if it demands none.
	Attribution string
	Signal      forecast.Signal
	// Forecasts and History tell whether the provider has forecasts, and a past of more than a day.
	Forecasts, History Availability
	// Rhythm is how often the provider makes new values. Asking more often is of no use.
	Rhythm time.Duration
	Limit  Limit
	// Page is how much of the past one request gives. A caller that asks for parts of a past asks for
	// no less at a time.
	Page time.Duration
	// IsMadeUp reports that no grid is behind the values. Whoever shows the values says so.
	IsMadeUp bool
}

// Reading is what a provider says of one zone.
type Reading struct {
	Zone   string
	Signal forecast.Signal
	// Series has the values that can be true. What is not known is a gap.
	Series *forecast.Series
	// Issued is when the provider made the forecast, or the zero time if it does not say.
	Issued time.Time
	// From is where the part of a past begins that the provider has answered for. There may be gaps
	// from there on, and the series may begin later. It is the zero time for a forecast.
	From time.Time
	// Elements counts the elements of the responses, BadElements those that cannot be read, and
	// Unknown those without a value. Estimated counts the values that the provider has estimated
	// itself.
	Elements, BadElements, Unknown, Estimated int
	// Problem says what is wrong with the first bad element; "" if there is none.
	Problem string
	// Doubted counts the slots whose value cannot be true, and Doubt says why; see
	// [forecast.Verdict].
	Doubted int
	Doubt   string
	// Incomplete says why the past before From is missing; nil if the provider gave all that it was
	// asked for.
	Incomplete error
}

// What can be done about an error depends on what it is: see [errors.Is]. Every other error is of
// the network or of the server, and another attempt may succeed.
var (
	// ErrRefusedKey says that the provider does not accept the key.
	ErrRefusedKey = errors.New("the key is missing, wrong or expired")
	// ErrNotInPlan says that the customer's plan does not have what was asked for.
	ErrNotInPlan = errors.New("not in this plan")
	// ErrUnavailable says that the provider has no such thing for anybody.
	ErrUnavailable = errors.New("the provider does not have this")
	// ErrUnknownZone says that the provider does not know the zone, or has no data of it.
	ErrUnknownZone = errors.New("the provider does not know this")
	// ErrRateLimited says that the provider was asked too often.
	ErrRateLimited = errors.New("asked too often")
	// ErrNoData says that a response has no value that can be true.
	ErrNoData = errors.New("no usable value")
	// ErrUnreadable says that a response is not what the provider documents.
	ErrUnreadable = errors.New("unreadable response")
)
