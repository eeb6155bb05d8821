"""Looking into trained nets: interventions, and what a linear map reads off their fast weights."""
