"""When a campaign will have been submitted, by the rules that the scheduler follows."""
