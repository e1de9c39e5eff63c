"""The operator's look into the queue, and the orders that steer it. Needs the database alone."""
