/** Where the processes listen: their defaults, which nothing here changes. */
export const PORTS = {
  proxy: 8080,
  admin: 8000,
  grpc: 8001,
  database: 5432,
};
