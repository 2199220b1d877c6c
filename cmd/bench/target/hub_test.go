package target

import (
	"errors"
	"testing"
)

func TestPeersThatAreNotInstalledSayWhereTheyAreToBeHad(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, centrifugo := StartCentrifugo(t.Context())
	_, mercure := StartMercure(t.Context())
	_, nchan := StartNchan(t.Context(), 1, 1024)
	for _, err := range []error{centrifugo, mercure, nchan} {
		var missing *MissingError
		if !errors.As(err, &missing) || missing.What == "" || missing.How == "" {
			t.Errorf("%v", err)
		}
	}
}
