package rabbitmq

import (
	"testing"

	"github.com/warren-gateway/warren/broker/rabbitmq/rabbittest"
)

func TestMain(m *testing.M) { rabbittest.Main(m) }
