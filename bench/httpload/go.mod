module httpload

go 1.23
